// ioredis, Cluster: it goes to the server that has a key itself.
'use strict';

const Redis = require('ioredis');
const { version } = require('ioredis/package.json');
const { assert, did, ports, run, Tally, throughKill } = require('./script.cjs');

async function uses(r) {
  assert.equal(await r.set('a', 'b', 'PX', 100000), 'OK');
  assert.equal(await r.getex('a', 'EX', 5), 'b');
  assert.deepEqual([await r.ttl('a'), await r.exists('a'), await r.type('a')], [5, 1, 'string']);
  const numbers = Array.from({ length: 500 }, (_, number) => number);
  await Promise.all(numbers.map((number) => r.set(`c:${number}`, number)));
  assert.deepEqual(await Promise.all(numbers.map((number) => r.incr(`c:${number}`))), numbers.map((each) => each + 1));
  assert.equal(await r.mset({ '{t}a': '1', '{t}b': '2' }), 'OK');
  assert.deepEqual(await r.mget('{t}a', '{t}b'), ['1', '2']);
  assert.deepEqual(await r.multi().set('{t}a', '5').incr('{t}a').exec(), [[null, 'OK'], [null, 6]]);
  assert.deepEqual(await r.pipeline().set('{t}a', '7').incr('{t}a').exec(), [[null, 'OK'], [null, 8]]);
  const found = new Set();
  for (const node of r.nodes('master')) {
    for await (const keys of node.scanStream({ match: 'c:*' })) keys.forEach((key) => found.add(key));
  }
  assert.deepEqual([r.nodes('master').length, found.size], [3, 500]);
}

run(async () => {
  const start = ports.slice(0, 1).map((port) => ({ host: '127.0.0.1', port }));
  const r = new Redis.Cluster(start);
  r.on('error', () => {});
  await uses(r);
  did(`ioredis ${version}, Cluster: strings, 500 at a time, a transaction, all keys scanned`);
  // This one does not repeat what was sent when a connection is lost: increments would be counted twice, and rightly so.
  const once = new Redis.Cluster(start, { retryDelayOnFailover: 0 });
  once.on('error', () => {});
  const tallies = [];
  for (const place of [1, 0]) {
    const tally = new Tally(`tally:${place}`);
    tallies.push(tally);
    await throughKill(place, tally, (key, by) => once.incrby(key, Number(by)), () => true);
    for (const each of tallies) each.judge(await Promise.all(each.keys.map((key) => once.get(key))));
    did(`server ${place + 1} killed: ${tally}`);
  }
  once.disconnect();
  // With its defaults it hides the failover. Sets may be repeated.
  const values = new Tally('value');
  await throughKill(2, values, async (key) => assert.equal(await r.set(key, 'x'), 'OK'), () => true);
  did(`server 3 killed: ${values.acknowledged} values set, ${values.errors.size} errors`);
  await Promise.all(r.nodes('master').map((node) => node.flushall()));
  await r.quit();
});
