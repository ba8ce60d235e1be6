// An operator's order that did not begin, for whoever tells the operator.

export type OrderErrorCode = 'unknown-cluster' | 'unknown-endpoint' | 'unknown-node' | 'busy' | 'refused';

/** Why an operator's order did not begin. */
export class OrderError extends Error {
  readonly code: OrderErrorCode;
  constructor(code: OrderErrorCode, message: string) {
    super(message);
    this.name = 'OrderError';
    this.code = code;
  }
}
