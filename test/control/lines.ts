// Lines of a socket, without readline's own opinion on a socket's errors.
import type { Socket } from 'node:net';
import { LineDecoder } from '../../src/messages/index.ts';

export function onLine(socket: Socket, listener: (line: string) => void): void {
  const decoder = new LineDecoder();
  socket.on('data', (chunk: Buffer) => {
    for (const line of decoder.push(chunk)) listener(line);
  });
}
