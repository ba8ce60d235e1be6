// The routes of operators' orders that stand until they end: each is carried out at once, and answers with what stands.
import { clusterName, compact, order, type Route, readBody } from './requests.ts';
import {
  addNodeBody,
  drainBody,
  drainSchema,
  errantBody,
  errantSchema,
  maintenanceBody,
  operatorOrderSchema,
  pauseBody,
  pauseSchema,
  rebuildBody,
  recoverySchema,
  removeNodeBody,
  resumeBody,
  undrainBody,
} from './schemas.ts';

export const ORDER_ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: '/api/v1/clusters/:name/maintenance',
    access: 'change',
    summary: 'Begins or ends maintenance of a node or of the cluster: nothing is recovered by itself meanwhile',
    body: { name: 'MaintenanceOrder', schema: maintenanceBody },
    answers: { name: 'OperatorOrder', schema: operatorOrderSchema },
    errors: [400, 404, 413, 415, 422],
    handle: async (context, { api }) => {
      const name = clusterName(context, api);
      const body = await readBody(context, maintenanceBody);
      return context.json(await order(() => api.maintenance(name, compact(body))));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/clusters/:name/drain',
    access: 'change',
    summary: 'Takes a node out of service, the primary role away first; answers when nothing is left there',
    body: { name: 'DrainOrder', schema: drainBody },
    answers: { name: 'Drain', schema: drainSchema },
    errors: [400, 404, 409, 413, 415, 422],
    handle: async (context, { api }) => {
      const name = clusterName(context, api);
      const body = await readBody(context, drainBody);
      return context.json(await order(() => api.drain(name, compact(body))));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/clusters/:name/undrain',
    access: 'change',
    summary: 'Puts a node back into service: it serves as soon as it is sound',
    body: { name: 'UndrainOrder', schema: undrainBody },
    answers: { name: 'OperatorOrder', schema: operatorOrderSchema },
    errors: [400, 404, 413, 415, 422],
    handle: async (context, { api }) => {
      const name = clusterName(context, api);
      const body = await readBody(context, undrainBody);
      return context.json(await order(() => api.undrain(name, body)));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/clusters/:name/errant',
    access: 'change',
    summary: 'What a node has and the primary has not, from its binary log',
    body: { name: 'ErrantQuestion', schema: errantBody },
    answers: { name: 'Errant', schema: errantSchema },
    errors: [400, 404, 413, 415, 422],
    handle: async (context, { api }) => {
      const name = clusterName(context, api);
      const body = await readBody(context, errantBody);
      return context.json(await order(() => api.errant(name, compact(body))));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/clusters/:name/rebuild',
    access: 'change',
    summary: 'Builds a node anew from another one; answers when it has ended, however it ended',
    body: { name: 'RebuildOrder', schema: rebuildBody },
    answers: { name: 'Recovery', schema: recoverySchema },
    errors: [400, 404, 409, 413, 415, 422],
    handle: async (context, { api }) => {
      const name = clusterName(context, api);
      const body = await readBody(context, rebuildBody);
      return context.json(await order(() => api.rebuild(name, compact(body))));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/clusters/:name/add-node',
    access: 'change',
    summary: 'Makes an empty server a replica; answers when it has ended, however it ended',
    body: { name: 'AddNodeOrder', schema: addNodeBody },
    answers: { name: 'Recovery', schema: recoverySchema },
    errors: [400, 404, 409, 413, 415, 422],
    handle: async (context, { api }) => {
      const name = clusterName(context, api);
      const body = await readBody(context, addNodeBody);
      return context.json(await order(() => api.addNode(name, compact(body))));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/clusters/:name/remove-node',
    access: 'change',
    summary: 'Takes a drained node out of the cluster for good',
    body: { name: 'RemoveNodeOrder', schema: removeNodeBody },
    answers: { name: 'OperatorOrder', schema: operatorOrderSchema },
    errors: [400, 404, 413, 415, 422],
    handle: async (context, { api }) => {
      const name = clusterName(context, api);
      const body = await readBody(context, removeNodeBody);
      return context.json(await order(() => api.removeNode(name, compact(body))));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/endpoints/:name/pause',
    access: 'change',
    summary: 'Holds all statements of an endpoint for a time; transactions in progress come to their end',
    body: { name: 'PauseOrder', schema: pauseBody },
    answers: { name: 'Pause', schema: pauseSchema },
    errors: [400, 404, 413, 415, 422],
    handle: async (context, { api }) => {
      const body = await readBody(context, pauseBody);
      return context.json(await order(() => api.pause(context.req.param('name') ?? '', compact(body))));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/endpoints/:name/resume',
    access: 'change',
    summary: 'Ends a pause: what waited goes on, in its order',
    body: { name: 'ResumeOrder', schema: resumeBody },
    answers: { name: 'OperatorOrder', schema: operatorOrderSchema },
    errors: [400, 404, 413, 415, 422],
    handle: async (context, { api }) => {
      await readBody(context, resumeBody);
      return context.json(await order(() => api.resume(context.req.param('name') ?? '')));
    },
  },
];
