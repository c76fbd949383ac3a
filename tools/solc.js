#!/usr/bin/env node
// The npm compiler behind the native command line, for py-solc-x and forge:
//   solc.js --version
//   solc.js --standard-json [FILE|-] [--base-path DIR] [--include-path DIR]...
//   solc.js --serve [--base-path DIR]...: an answer of one line for every job of one line, since the compiler gets quick
//     only after its first ones
"use strict";
const fs = require("fs");
const path = require("path");

const roots = [];
let mode = "";
let file = 0; // stdin
const args = process.argv.slice(2).flatMap((arg) => (/^--[^=]+=/.test(arg) ? arg.split(/=(.*)/s, 2) : [arg]));
for (let i = 0; i < args.length; i++) {
  if (args[i] === "--version" || args[i] === "--standard-json" || args[i] === "--serve") mode = args[i];
  else if (args[i] === "--base-path" || args[i] === "--include-path") roots.push(args[++i]);
  else if (args[i] === "--allow-paths") i++; // this front reads whatever a source imports
  else if (args[i] !== "-" && !args[i].startsWith("-")) file = args[i];
  else if (args[i] !== "-") fail(`unrecognised option '${args[i]}'`);
}
if (!mode) fail("use --version, --standard-json or --serve");

// The emscripten module turns every uncaught error into an abort with the whole compiler source printed.
const handlers = process.listeners("uncaughtException");
const solc = require("solc");
process.removeAllListeners("uncaughtException");
for (const handler of handlers) process.on("uncaughtException", handler);

if (mode === "--version") print(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
else if (mode === "--serve")
  require("readline")
    .createInterface({ input: process.stdin })
    .on("line", (job) => print(solc.compile(job, { import: find }) + "\n"));
else print(solc.compile(fs.readFileSync(file, "utf8"), { import: find }) + "\n");

function find(name) {
  for (const root of roots.length ? roots : ["."]) {
    const candidate = path.resolve(root, name);
    if (fs.existsSync(candidate)) return { contents: fs.readFileSync(candidate, "utf8") };
  }
  return { error: `File not found: ${name}` };
}

// writeSync on a pipe writes what fits, and process.stdout would be cut off at exit.
function print(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function fail(message) {
  process.stderr.write(`Error: ${message}\n`);
  process.exit(1);
}
