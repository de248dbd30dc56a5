// The side of a client's program: see tests/clients/script.py, which is the same in Python.
'use strict';

const assert = require('node:assert/strict');
const readline = require('node:readline');

const COUNTERS = 32;
const BEFORE = 50;
const AFTERWARDS = 200;

const ports = process.argv.slice(2).map(Number);
let healed = false;

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
  if (line === 'healed') healed = true;
});

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function did(what) {
  process.stdout.write(`did ${what}\n`);
}

// Run a whole program, and end it with its outcome.
function run(main) {
  main().then(
    () => process.stdout.write('end\n', () => process.exit(0)),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

// Increments of counters, and what they have to come to.
class Tally {
  constructor(name) {
    this.keys = Array.from({ length: COUNTERS }, (_, number) => `${name}:${number}`);
    this.sums = new Map(this.keys.map((key) => [key, 0n]));
    this.open = new Map(this.keys.map((key) => [key, []]));
    this.turn = 0;
    this.acknowledged = this.unknown = this.refused = 0;
    this.errors = new Map();
  }

  next() {
    const key = this.keys[this.turn++ % COUNTERS];
    return [key, 4n ** BigInt(this.open.get(key).length)];
  }

  done(key, by) {
    this.acknowledged += 1;
    this.sums.set(key, this.sums.get(key) + by);
  }

  failed(key, by, error) {
    const text = `${error.name}: ${error.message}`;
    this.errors.set(text, (this.errors.get(text) ?? 0) + 1);
    if (text.includes('not executed')) {
      this.refused += 1;
    } else {
      this.unknown += 1;
      this.open.get(key).push(by);
      assert(this.open.get(key).length <= 24, `too much of unknown outcome: ${this}`);
    }
  }

  judge(values) {
    this.keys.forEach((key, place) => {
      let rest = BigInt(values[place] ?? 0) - this.sums.get(key);
      for (const by of this.open.get(key).toReversed()) if (rest >= by) rest -= by;
      assert.equal(rest, 0n, `${key} is ${values[place]}, acknowledged ${this.sums.get(key)}: ${this}`);
    });
  }

  toString() {
    let text = `${this.acknowledged} increments are there`;
    if (this.unknown) text += `, ${this.unknown} of unknown outcome`;
    if (this.refused) text += `, ${this.refused} refused`;
    const [most] = [...this.errors].sort((a, b) => b[1] - a[1]);
    if (most) text += ` (${most[0].slice(0, 160)})`;
    return text;
  }
}

// Increments by several tasks while the server at a place is killed. `expected` says of which errors it may be.
async function throughKill(place, tally, increment, expected, tasks = 4) {
  healed = false;
  let begun = 0;
  let left = AFTERWARDS;
  const goOn = async () => {
    while (left > 0) {
      if (healed) left -= 1;
      if (++begun === BEFORE) process.stdout.write(`kill ${place}\n`);
      const [key, by] = tally.next();
      try {
        await increment(key, by);
      } catch (error) {
        if (!expected(error)) throw error;
        tally.failed(key, by, error);
        await sleep(100);
        continue;
      }
      tally.done(key, by);
    }
  };
  await Promise.all(Array.from({ length: tasks }, goOn));
}

module.exports = { assert, did, ports, run, sleep, Tally, throughKill };
