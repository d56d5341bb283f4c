// Tells the outcome of cases and steps, one line each, in the file $SDK_RESULTS.

const assert = require("node:assert/strict");
const fs = require("node:fs");

const tell = (line) => fs.appendFileSync(process.env.SDK_RESULTS, `${line}\n`);

async function passes(name, body) {
  try {
    await body();
    return true;
  } catch (error) {
    console.error(`${name}:`, error);
    return false;
  }
}

// Runs pairs of a name and a function in their order. Whether none failed.
exports.run = async (cases) => {
  let passed = true;
  for (const [name, body] of cases) {
    const isPassed = await passes(name, body);
    tell(`${isPassed ? "PASS" : "FAIL"} javascript ${name}`);
    passed = passed && isPassed;
  }
  return passed;
};

// A step that the SDK lacks, and why.
exports.lacks = (why) => ({ lacks: why });

// A step with something to say about it.
exports.noted = (body, note) => ({ body, note });

// Takes the steps of the common script in their order, each by what the object has. Whether none
// failed.
exports.take = async (protocol, steps) => {
  const lines = fs.readFileSync(process.env.SDK_STEPS, "utf8").split("\n");
  const names = lines.filter((line) => line && !line.startsWith("#"));
  assert.deepEqual([...names].sort(), Object.keys(steps).sort());
  let passed = true;
  for (const name of names) {
    const step = steps[name];
    const told = `javascript/${protocol} ${name}`;
    if (step.lacks) {
      tell(`LACKS ${told} | ${step.lacks}`);
      continue;
    }
    const isPassed = await passes(name, step.body ?? step);
    tell(`${isPassed ? "PASS" : "FAIL"} ${told}${step.note ? ` | ${step.note}` : ""}`);
    passed = passed && isPassed;
  }
  return passed;
};
