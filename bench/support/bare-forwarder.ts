// What passing bytes on costs in this runtime, and no more: a connection to the server for each client, all that comes is
// written on as it came. A program of its own: bare-forwarder.ts PORT SERVER-HOST SERVER-PORT.
import net from 'node:net';

const [port = '', host = '', serverPort = ''] = process.argv.slice(2);

net
  .createServer({ noDelay: true }, (client) => {
    const server = net.connect({ host, port: Number(serverPort), noDelay: true });
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on('data', (bytes: Buffer) => {
        if (!to.write(bytes)) from.pause();
      });
      to.on('drain', () => from.resume());
      from.on('error', () => {});
      from.on('close', () => to.destroy());
    }
  })
  .listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
