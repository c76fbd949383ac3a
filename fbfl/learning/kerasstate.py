"""Keras's settings of one thread, to be copied to any other thread that builds or traces a model.

Importing this module imports TensorFlow.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keras.src.backend.common import global_state

# Not among them: the next names of layers and seeds of initialisers, which here depend on arguments alone.
_NAMES = (
    "dtype_policy",  # keras.config.set_dtype_policy, keras.mixed_precision.set_global_policy
    "custom_objects_scope_dict",  # keras.saving.custom_object_scope
    "safe_mode_saving",  # keras.config.enable_unsafe_deserialization
    "use_legacy_config",
    "flash_attention",  # keras.config.enable_flash_attention
    "remat_scope_stack",  # keras.RematScope
    "traceback_filtering",  # keras.config.enable_traceback_filtering
    "interactive_logging",  # keras.config.enable_interactive_logging
)


def of_this_thread() -> dict[str, Any]:
    """Return the settings of this thread."""
    state = vars(global_state.GLOBAL_STATE_TRACKER)
    return {name: state[name] for name in _NAMES if name in state}


@contextmanager
def under(settings: Mapping[str, Any]) -> Iterator[None]:
    """Give this thread the settings of another, inside the `with` block."""
    before = of_this_thread()
    _set(settings)
    try:
        yield
    finally:
        _set(before)


def _set(settings: Mapping[str, Any]) -> None:
    for name in _NAMES:
        global_state.set_global_attribute(name, settings.get(name))  # None: as if it had never been set
