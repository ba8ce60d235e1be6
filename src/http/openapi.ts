// The OpenAPI 3.1 document, made of the list of routes and the schemas that the answers are tested against.
import { z } from 'zod';
import type { HttpError, Route } from './requests.ts';
import { ROUTES } from './routes.ts';
import { errorSchema, eventSchema } from './schemas.ts';

const ERROR_TEXT: Record<HttpError['status'], string> = {
  400: 'The request does not fit',
  401: 'The bearer token is missing',
  403: 'The bearer token is wrong, or the Host header is not of this machine',
  404: 'There is no such thing',
  405: 'Not with this method; see Allow',
  409: 'Another recovery of this cluster runs',
  413: 'The body is too large',
  415: 'The body is not application/json',
  422: 'Refused: found unsafe or impossible; the message says why and what mends it',
  503: 'Too many, try later',
};

/** As JSON Schema 2020-12, which OpenAPI 3.1 takes as it is. */
function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}

function reference(name: string): object {
  return { $ref: `#/components/schemas/${name}` };
}

function operation(route: Route): object {
  const { answers, body } = route;
  const content =
    typeof answers === 'string'
      ? { [answers.split(';')[0] ?? answers]: {} }
      : {
          'application/json': {
            schema: answers.list ? { type: 'array', items: reference(answers.name) } : reference(answers.name),
          },
        };
  const error = { 'application/json': { schema: reference('Error') } };
  const statuses: HttpError['status'][] = [...route.errors, ...(route.access === 'open' ? [] : ([401] as const)), 403];
  const responses: Record<string, object> = { 200: { description: 'Done', content } };
  if (route.path === '/readyz') responses['503'] = { description: 'Not ready', content };
  for (const status of statuses) responses[status] = { description: ERROR_TEXT[status], content: error };
  const parameters = [
    ...[...route.path.matchAll(/:(\w+)/g)].map(([, name]) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string' },
    })),
    ...Object.entries(route.query ?? {}).map(([name, description]) => ({
      name,
      in: 'query',
      required: false,
      description,
      schema: { type: name === 'limit' ? 'integer' : 'string' },
    })),
  ];
  return {
    summary: route.summary,
    operationId: `${route.method.toLowerCase()}${route.path.replace(/[/:.]+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body === undefined
      ? {}
      : { requestBody: { required: false, content: { 'application/json': { schema: reference(body.name) } } } }),
    ...(route.access === 'open' ? {} : { security: route.access === 'change' ? [{ token: [] }] : [{}, { token: [] }] }),
    responses,
  };
}

export function openapiDocument(): object {
  const paths: Record<string, Record<string, object>> = {};
  const schemas: Record<string, object> = {
    Error: jsonSchema(errorSchema, 'output'),
    Event: jsonSchema(eventSchema, 'output'),
  };
  for (const route of ROUTES) {
    const path = route.path.replace(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
    if (route.body !== undefined) schemas[route.body.name] = jsonSchema(route.body.schema, 'input');
    if (typeof route.answers !== 'string') schemas[route.answers.name] ??= jsonSchema(route.answers.schema, 'output');
  }
  const description =
    'Reading is open where Evenkeel listens on loopback, and needs the token elsewhere. Changing anything needs the token.';
  return {
    openapi: '3.1.0',
    info: { title: 'Evenkeel', version: 'v1', description },
    paths,
    components: { schemas, securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
  };
}
