// The steps of state, secrets, configuration, locks and metadata.

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");

const { refused } = require("./client.cjs");
const { lacks } = require("./report.cjs");

const { APP_ID } = process.env;
const MEMORY = "memory";
const SECRETS = "secrets";
const SETTINGS = "settings";
const LOCKS = "locks";

// Some calls hand back their error.
async function done(call) {
  const { error } = (await call) ?? {};
  if (error) throw error;
}

const save = (client, key, value, more) =>
  done(client.state.save(MEMORY, [{ key, value, ...more }]));

const get = (client, key) => client.state.get(MEMORY, key);

// The SDK tells it of many keys only.
async function etagOf(client, key) {
  const [{ etag }] = await client.state.getBulk(MEMORY, [key]);
  assert.ok(etag, "there is no ETag");
  return etag;
}

async function savesAndGets(client, store = MEMORY) {
  await done(client.state.save(store, [{ key: "order", value: { a: "ä" } }]));
  assert.deepEqual(await client.state.get(store, "order"), { a: "ä" });
}

const missesAKey = async (client) => assert.equal(await get(client, "none"), "");

async function getsMany(client) {
  await done(
    client.state.save(MEMORY, [
      { key: "one", value: 1 },
      { key: "two", value: 2 },
    ]),
  );
  const items = await client.state.getBulk(MEMORY, ["one", "none", "two"], { parallelism: 2 });
  const found = new Map(items.map(({ key, data }) => [key, data || undefined]));
  assert.deepEqual([found.get("one"), found.get("two"), found.get("none")], [1, 2, undefined]);
  assert.equal(found.size, 3);
}

async function deletes(client) {
  await save(client, "deleted", 1);
  await done(client.state.delete(MEMORY, "deleted"));
  assert.equal(await get(client, "deleted"), "");
}

async function savesWithAnOldEtag(client) {
  await save(client, "saved", 1);
  const etag = await etagOf(client, "saved");
  await save(client, "saved", 2, { etag });
  await refused(client.state.save(MEMORY, [{ key: "saved", value: 3, etag }]), 409, 10);
  assert.equal(await get(client, "saved"), 2);
}

async function deletesWithAnOldEtag(client) {
  await save(client, "kept", 1);
  const etag = await etagOf(client, "kept");
  await save(client, "kept", 2);
  await refused(client.state.delete(MEMORY, "kept", { etag }), 409, 10);
  assert.equal(await get(client, "kept"), 2);
  await done(client.state.delete(MEMORY, "kept", { etag: await etagOf(client, "kept") }));
  assert.equal(await get(client, "kept"), "");
}

const upsert = (key, value, etag) => ({ operation: "upsert", request: { key, value, etag } });

async function transacts(client) {
  await save(client, "from", 1);
  const old = await etagOf(client, "from");
  const { state } = client;
  await state.transaction(MEMORY, [
    upsert("to", "one"),
    { operation: "delete", request: { key: "from" } },
  ]);
  assert.equal(await get(client, "to"), "one");
  assert.equal(await get(client, "from"), "");
  await assert.rejects(
    state.transaction(MEMORY, [upsert("to", "two"), upsert("from", "two", old)]),
  );
  assert.equal(await get(client, "to"), "one");
}

async function expires(client) {
  await save(client, "short", 1, { metadata: { ttlInSeconds: "1" } });
  await save(client, "long", 1, { metadata: { ttlInSeconds: "3600" } });
  for (let triesLeft = 600; (await get(client, "short")) !== ""; triesLeft--) {
    assert.ok(triesLeft > 0, "it never expired");
    await sleep(100);
  }
  assert.equal(await get(client, "long"), 1);
}

const getsASecret = async (client) =>
  assert.deepEqual(await client.secret.get(SECRETS, "password"), { password: "hunter2" });

const getsAllSecrets = async (client) =>
  assert.deepEqual(await client.secret.getBulk(SECRETS), { password: { password: "hunter2" } });

const isDeniedASecret = (client) => refused(client.secret.get(SECRETS, "denied"), 403, 7);

// Over HTTP it is told with the status 204.
async function missesASecret(client, protocol) {
  const call = client.secret.get(SECRETS, "none");
  if (protocol === "http") assert.equal(await call, "");
  else await refused(call, undefined, 5);
}

const write = (client, key, value) => client.binding.send("writer", "create", value, { key });

async function getsSettings(client) {
  const key = `${APP_ID}-color`;
  await write(client, key, "red||1");
  const { items } = await client.configuration.get(SETTINGS, [key]);
  assert.deepEqual([items[key].value, items[key].version], ["red", "1"]);
}

async function isToldOfSettings(client) {
  const key = `${APP_ID}-size`;
  const told = [];
  const note = async (change) => void told.push(change.items[key]);
  const subscription = await client.configuration.subscribeWithKeys(SETTINGS, [key], note);
  // The SDK does not say when it is subscribed. Only what is another value than before is told.
  for (let number = 0; told.length === 0; number++) {
    assert.ok(number < 600, "nothing was told");
    await write(client, key, `large||${number}`);
    await sleep(100);
  }
  assert.equal(told[0].value, "large");
  assert.match(told[0].version, /^\d+$/);
  await subscription.stop();
}

async function locks(client) {
  const { lock } = client;
  assert.ok((await lock.lock(LOCKS, "till", "first", 60)).success);
  assert.ok(!(await lock.lock(LOCKS, "till", "second", 60)).success);
  const told = [];
  for (const owner of ["second", "first", "first"]) {
    told.push((await lock.unlock(LOCKS, "till", owner)).status);
  }
  // It belongs to others, is released, and does not exist.
  assert.deepEqual(told, [2, 0, 1]);
}

async function getsMetadata(client) {
  const { id, components } = await client.metadata.get();
  assert.equal(id, APP_ID);
  assert.ok(components.some(({ name }) => name === MEMORY));
}

async function setsMetadata(client) {
  assert.ok(await client.metadata.set("floor", "3"));
  assert.equal((await client.metadata.get()).extended.floor, "3");
}

exports.steps = (client, protocol) => {
  const bound = (step, ...more) => () => step(client, ...more);
  const noConfiguration = lacks("The client has the configuration API over gRPC only.");
  return {
    "state: save and get": bound(savesAndGets),
    "state: get a missing key": bound(missesAKey),
    "state: get many keys": bound(getsMany),
    "state: delete": bound(deletes),
    "state: save with an old ETag": bound(savesWithAnOldEtag),
    "state: delete with an old ETag": bound(deletesWithAnOldEtag),
    "state: transaction": bound(transacts),
    "state: TTL": bound(expires),
    "state: Redis, its password a secretKeyRef": bound(savesAndGets, "redis"),
    "secrets: get one": bound(getsASecret),
    "secrets: get all": bound(getsAllSecrets),
    "secrets: denied by scope": bound(isDeniedASecret),
    "secrets: missing": bound(missesASecret, protocol),
    "configuration: get": protocol === "http" ? noConfiguration : bound(getsSettings),
    "configuration: subscribe": protocol === "http" ? noConfiguration : bound(isToldOfSettings),
    "lock: take and release": bound(locks),
    "metadata: get": bound(getsMetadata),
    "metadata: set": bound(setsMetadata),
  };
};
