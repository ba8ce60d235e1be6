// The routes of operators' orders that stand until they end: each is carried out at once, and answers with what stands.
import { clusterName, compact, order, type Route, readBody } from './requests.ts';
import { maintenanceBody, operatorOrderSchema } from './schemas.ts';

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
];
