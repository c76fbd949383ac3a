"""The names that `import fbfl` offers, and its cost."""

import subprocess
import sys

import fbfl


def test_it_offers_what_it_names_and_nothing_else() -> None:
    names = ["FbflError", "Federation", "InvalidInputError", "RunSettings", "Simulation", "__version__"]
    assert sorted(fbfl.__all__) == dir(fbfl) == [*names, "open_run", "run"]
    assert all(getattr(fbfl, name) is not None for name in fbfl.__all__)
    assert not hasattr(fbfl, "simulate")


def test_it_imports_in_a_fifth_of_a_second() -> None:
    program = (
        "import sys, time\n"
        "started = time.process_time()\n"
        "import fbfl\n"
        "seconds = time.process_time() - started\n"
        "slow = {'numpy', 'web3', 'keras', 'tensorflow', 'pandas'} & set(sys.modules)\n"
        "print(seconds if not slow else slow)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.2  # of the processor: others may be busy on it
