// What arrived at the application, by where it arrived.

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");

const { APP_ID } = process.env;

// What is published to see whether a subscription is there.
exports.WARM_UP = "warm-up";

// Waits until something holds, for about a minute.
exports.eventually = async (holds) => {
  for (let triesLeft = 600; !holds() && triesLeft > 0; triesLeft--) await sleep(100);
  return holds();
};

// What arrives of data that this application publishes.
exports.sent = (data, contentType = "text/plain", type = "com.dapr.event.sent") => ({
  source: APP_ID,
  type,
  contentType,
  data,
});

const text = (events) => events.map((event) => JSON.stringify(event)).sort();

exports.Inbox = class {
  #all = new Map();
  #expected = new Map();

  // With `form` only a part of each event is looked at, by where it arrives.
  constructor(form = (event) => event) {
    this.form = form;
    // What the sidecar called, and whether the app's token came with it, and no other.
    this.calls = [];
  }

  // Which one it is that arrived there, from 1; 0 of one that was sent to warm up.
  put(where, event) {
    const isWarmUp = event.data === exports.WARM_UP;
    const there = this.at(isWarmUp ? `warm-up of ${where}` : where);
    there.push(this.form(event, where));
    return isWarmUp ? 0 : there.length;
  }

  at(where) {
    if (!this.#all.has(where)) this.#all.set(where, []);
    return this.#all.get(where);
  }

  // Asserts that these arrive there beside what did before, in any order.
  async got(where, ...events) {
    const more = events.map((event) => this.form(event, where));
    const expected = [...(this.#expected.get(where) ?? []), ...more];
    this.#expected.set(where, expected);
    await exports.eventually(() => this.at(where).length >= expected.length);
    assert.deepEqual(text(this.at(where)), text(expected));
  }

  gotNothingElse() {
    for (const [where, events] of this.#all) {
      if (where === "tick" || where.startsWith("warm-up of ")) continue;
      assert.deepEqual(text(events), text(this.#expected.get(where) ?? []));
    }
  }

  sawItsToken(...calls) {
    for (const call of calls) {
      assert.ok(this.calls.some(([name]) => name === call), `${call} was not called`);
    }
    assert.deepEqual(
      this.calls.filter(([, isOwnToken]) => !isOwnToken),
      [],
    );
  }
};
