// The HTTP interface: health, metrics, the API and its events.
export type * from './api.ts';
export { createHttp, type HttpOptions, type HttpServer } from './server.ts';
