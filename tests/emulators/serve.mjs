// Starts one emulator on loopback and says where:
//
//   node serve.mjs NAME [--port N] [--config JSON] [--until-stdin-closes]
//
// Port 0 lets the kernel choose, so nobody guesses at a free port. The line "listening HOST:PORT"
// on stdout is printed after the socket accepts connections. With --until-stdin-closes the process
// ends with whoever holds its stdin: a killed test binary leaves nothing behind.
import { parseArgs } from 'node:util';

const names = ['fauxqs', 'dynalite', 'azurite', 'cosmos', 'servicebus'];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string', default: '0' },
    config: { type: 'string', default: '{}' },
    'until-stdin-closes': { type: 'boolean', default: false },
  },
});
const [name] = positionals;
if (positionals.length !== 1 || !names.includes(name)) {
  console.error(`usage: node serve.mjs ${names.join('|')} [--port N] [--config JSON] [--until-stdin-closes]`);
  process.exit(2);
}
if (values['until-stdin-closes']) {
  process.stdin.resume();
  for (const event of ['end', 'close', 'error']) process.stdin.on(event, () => process.exit(0));
}
const { start } = await import(`./${name}.mjs`);
const host = '127.0.0.1';
const port = await start({ host, port: Number(values.port), config: JSON.parse(values.config) });
console.log(`listening ${host}:${port}`);
