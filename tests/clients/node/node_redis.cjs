// node-redis, the plain client.
'use strict';

const { createClient, RESP_TYPES, WatchError, ErrorReply } = require('redis');
const { version } = require('redis/package.json');
const { assert, did, ports, run, sleep, Tally, throughKill } = require('./script.cjs');

const KEYS = 3000;

async function uses(r) {
  assert.equal(await r.ping(), 'PONG');
  assert.equal(await r.set('a', 'žluťoučký', { expiration: { type: 'EX', value: 100 } }), 'OK');
  assert.equal(await r.get('a'), 'žluťoučký');
  assert.equal(await r.get('nothing'), null);
  assert.equal(await r.ttl('a'), 100);
  assert.equal(await r.persist('a'), 1);
  assert.equal(await r.set('a', 'x', { condition: 'NX' }), null);
  assert.deepEqual([await r.incr('n'), await r.incrBy('n', 41), await r.decr('n')], [1, 42, 41]);
  assert.equal(Number(await r.incrByFloat('f', 0.5)), 0.5);
  assert.equal(await r.append('a', '!'), 14);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, number) => number));
  assert.equal(await r.set('bytes', bytes), 'OK');
  const raw = r.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  assert(bytes.equals(await raw.get('bytes')));
  const pairs = Array.from({ length: 300 }, (_, number) => [`many:${number}`, `${number}`]);
  assert.equal(await r.mSet(pairs), 'OK');
  assert.deepEqual(await r.mGet(pairs.map(([key]) => key)), pairs.map(([, value]) => value));
  assert.equal(await r.del(pairs.map(([key]) => key)), 300);
  const together = await Promise.all(Array.from({ length: 1000 }, () => r.incr('together')));
  assert.deepEqual(together, Array.from({ length: 1000 }, (_, number) => number + 1));
  assert.deepEqual(await r.multi().set('{t}a', '1').incr('{t}a').get('{t}a').exec(), ['OK', 2, '2']);
  const pipelined = await r.multi().set('x', '1').set('y', '2').mGet(['x', 'y']).execAsPipeline();
  assert.deepEqual(pipelined, ['OK', 'OK', ['1', '2']]);
  await assert.rejects(r.multi().set('one', '1').set('two', '2').exec(), ErrorReply);
  const other = await r.duplicate().connect();
  await other.watch('{t}a');
  await r.set('{t}a', '5');
  await assert.rejects(other.multi().set('{t}a', '6').exec(), WatchError);
  await other.close();
  await assert.rejects(r.lPush('list', 'x'), /unknown command/);
}

async function walks(r) {
  await r.flushAll();
  await Promise.all(Array.from({ length: KEYS }, (_, number) => r.set(`walk:${number}`, 'x')));
  const found = [];
  for await (const keys of r.scanIterator({ MATCH: 'walk:*', COUNT: 100 })) found.push(...keys);
  assert.deepEqual([found.length, new Set(found).size, await r.dbSize()], [KEYS, KEYS, KEYS]);
}

async function tells(r) {
  assert.match(await r.info(), /redis_version:7\.0\.15\r\n/);
  assert.equal(await r.clientSetName('clients'), 'OK');
  assert.equal(await r.clientGetName(), 'clients');
  assert.equal((await r.clientList()).filter((each) => each.name === 'clients').length, 1);
  assert.equal((await r.command()).find((each) => each.name === 'mset').step, 2);
  assert.equal((await r.configGet('maxmemory')).maxmemory, '0');
  assert.equal(await r.wait(1, 1000), 1);
}

run(async () => {
  const own = { socket: { host: '127.0.0.1', port: ports[0] } };
  const r = createClient(own);
  r.on('error', () => {}); // lost connections come up here, too
  await r.connect();
  await uses(r);
  await walks(r);
  await tells(r);
  did(`node-redis ${version}, RESP3: strings, pipelines, transactions, WATCH, ${KEYS} keys scanned`);
  const old = await createClient({ ...own, RESP: 2 }).connect();
  assert.deepEqual([await old.get('walk:1'), await old.get('nothing')], ['x', null]);
  assert.equal((await old.configGet('maxmemory')).maxmemory, '0');
  await old.close();
  did('RESP2');
  const tallies = [new Tally('tally:1'), new Tally('tally:0')];
  await throughKill(1, tallies[0], (key, by) => r.incrBy(key, Number(by)), (error) => error instanceof ErrorReply);
  did(`another server killed: ${tallies[0]}, on one connection`);
  await throughKill(0, tallies[1], (key, by) => r.incrBy(key, Number(by)), () => true);
  await sleep(50);
  for (const tally of tallies) tally.judge(await r.mGet(tally.keys));
  did(`its server killed: ${tallies[1]}`);
  assert.equal(await r.flushAll(), 'OK');
  await r.close();
});
