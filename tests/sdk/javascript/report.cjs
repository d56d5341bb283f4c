// Tells the outcome of cases, one line each, in the file $SDK_RESULTS.

const fs = require("node:fs");

// Runs pairs of a name and a function in their order. Whether none failed.
exports.run = async (cases) => {
  let passed = true;
  for (const [name, body] of cases) {
    let outcome = "PASS";
    try {
      await body();
    } catch (error) {
      console.error(`${name}:`, error);
      outcome = "FAIL";
      passed = false;
    }
    fs.appendFileSync(process.env.SDK_RESULTS, `${outcome} javascript ${name}\n`);
  }
  return passed;
};
