// ioredis, the plain client.
'use strict';

const Redis = require('ioredis');
const { version } = require('ioredis/package.json');
const { assert, did, ports, run, Tally, throughKill } = require('./script.cjs');

const KEYS = 3000;

async function uses(r) {
  assert.equal(await r.ping(), 'PONG');
  assert.equal(await r.set('a', 'žluťoučký', 'EX', 100), 'OK');
  assert.equal(await r.get('a'), 'žluťoučký');
  assert.deepEqual([await r.get('nothing'), await r.ttl('a'), await r.persist('a')], [null, 100, 1]);
  assert.deepEqual([await r.setnx('a', 'x'), await r.incr('n'), await r.incrby('n', 41)], [0, 1, 42]);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, number) => number));
  assert.equal(await r.set('bytes', bytes), 'OK');
  assert(bytes.equals(await r.getBuffer('bytes')));
  const pairs = Object.fromEntries(Array.from({ length: 300 }, (_, number) => [`many:${number}`, `${number}`]));
  assert.equal(await r.mset(pairs), 'OK');
  assert.deepEqual(await r.mget(Object.keys(pairs)), Object.values(pairs));
  assert.equal(await r.del(...Object.keys(pairs)), 300);
  const together = await Promise.all(Array.from({ length: 1000 }, () => r.incr('together')));
  assert.deepEqual(together, Array.from({ length: 1000 }, (_, number) => number + 1));
  const pipe = r.pipeline();
  for (let number = 0; number < 1000; number++) pipe.set(`pipe:${number}`, number);
  assert((await pipe.exec()).every(([error, reply]) => !error && reply === 'OK'));
  assert.deepEqual(await r.multi().set('{t}a', '1').incr('{t}a').get('{t}a').exec(), [[null, 'OK'], [null, 2], [null, '2']]);
  const other = r.duplicate();
  await other.watch('{t}a');
  await r.set('{t}a', '5');
  assert.equal(await other.multi().set('{t}a', '6').exec(), null);
  other.disconnect();
  await assert.rejects(r.lpush('list', 'x'), /unknown command/);
}

async function walks(r) {
  await r.flushall();
  await Promise.all(Array.from({ length: KEYS }, (_, number) => r.set(`walk:${number}`, 'x')));
  const found = [];
  for await (const keys of r.scanStream({ match: 'walk:*', count: 100 })) found.push(...keys);
  assert.deepEqual([found.length, new Set(found).size, await r.dbsize()], [KEYS, KEYS, KEYS]);
}

async function tells(r) {
  assert.match(await r.info(), /redis_version:7\.0\.15\r\n/);
  assert.equal(await r.client('SETNAME', 'clients'), 'OK');
  assert.match(await r.client('LIST'), / name=clients /);
  assert.equal((await r.command()).find(([name]) => name === 'mset')[5], 2);
  assert.equal((await r.command('COUNT')) > 50, true);
  assert.equal(await r.wait(1, 1000), 1);
}

run(async () => {
  // What was sent and not answered is not sent again: repeated increments would be counted twice, and rightly so.
  const r = new Redis({ host: '127.0.0.1', port: ports[0], maxRetriesPerRequest: 0 });
  r.on('error', () => {}); // lost connections come up here, too
  await uses(r);
  await walks(r);
  await tells(r);
  did(`ioredis ${version}: strings, a pipeline, transactions, WATCH, ${KEYS} keys scanned`);
  const tallies = [new Tally('tally:1'), new Tally('tally:0')];
  const isReply = (error) => error.name === 'ReplyError';
  await throughKill(1, tallies[0], (key, by) => r.incrby(key, Number(by)), isReply);
  did(`another server killed: ${tallies[0]}, on one connection`);
  await throughKill(0, tallies[1], (key, by) => r.incrby(key, Number(by)), () => true);
  for (const tally of tallies) tally.judge(await r.mget(tally.keys));
  did(`its server killed: ${tallies[1]}`);
  assert.equal(await r.flushall(), 'OK');
  assert.equal(await r.quit(), 'OK');
});
