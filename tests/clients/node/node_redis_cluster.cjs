// node-redis, createCluster: it goes to the server that has a key itself.
'use strict';

const { createCluster } = require('redis');
const { version } = require('redis/package.json');
const { assert, did, ports, run, Tally, throughKill } = require('./script.cjs');

async function uses(r) {
  assert.equal(await r.set('a', 'b', { expiration: { type: 'PX', value: 100000 } }), 'OK');
  assert.equal(await r.getEx('a', { type: 'EX', value: 5 }), 'b');
  assert.deepEqual([await r.ttl('a'), await r.exists('a'), await r.type('a')], [5, 1, 'string']);
  const numbers = Array.from({ length: 500 }, (_, number) => number);
  await Promise.all(numbers.map((number) => r.set(`c:${number}`, number)));
  assert.deepEqual(await Promise.all(numbers.map((number) => r.incr(`c:${number}`))), numbers.map((each) => each + 1));
  assert.equal(await r.mSet([['{t}a', '1'], ['{t}b', '2']]), 'OK');
  assert.deepEqual(await r.mGet(['{t}a', '{t}b']), ['1', '2']);
  assert.deepEqual(await r.multi().set('{t}a', '5').incr('{t}a').exec(), ['OK', 6]);
  const found = new Set();
  for (const master of r.masters) {
    const client = await r.nodeClient(master);
    for await (const keys of client.scanIterator({ MATCH: 'c:*' })) keys.forEach((key) => found.add(key));
  }
  assert.deepEqual([r.masters.length, found.size], [3, 500]);
}

run(async () => {
  const rootNodes = ports.map((port) => ({ url: `redis://127.0.0.1:${port}` }));
  const r = createCluster({ rootNodes: rootNodes.slice(0, 1) });
  r.on('error', () => {});
  await r.connect();
  await uses(r);
  did(`node-redis ${version}, createCluster: strings, 500 at a time, a transaction, all keys scanned`);
  const tallies = [];
  for (const place of [1, 0]) {
    const tally = new Tally(`tally:${place}`);
    tallies.push(tally);
    await throughKill(place, tally, (key, by) => r.incrBy(key, Number(by)), () => true);
    for (const each of tallies) each.judge(await Promise.all(each.keys.map((key) => r.get(key))));
    did(`server ${place + 1} killed: ${tally}`);
  }
  await Promise.all(r.masters.map(async (master) => (await r.nodeClient(master)).flushAll()));
  await r.close();
});
