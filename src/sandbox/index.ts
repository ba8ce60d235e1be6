// The door of the sandbox: local clusters of real servers, for `evenkeel sandbox`, the demo, the scenario tests and
// the benchmarks. It stands alone: nothing of the proxy is imported here, so the proxy is tested from outside.
export { buildFromBackup } from './backup.ts';
export { SandboxError, type SandboxReason } from './errors.ts';
export { findLanguage, type Language } from './languages.ts';
export { freePorts } from './ports.ts';
export {
  killNode,
  nodeLog,
  type SandboxNodeStatus,
  type SandboxStatus,
  sandboxStatus,
  startNode,
  startSandbox,
  stopSandbox,
} from './sandbox.ts';
export { findServer, findTool, type ServerProgram, type ToolName, type ToolProgram } from './servers.ts';
export { withSandbox } from './testing.ts';
export type { SandboxInfo, SandboxNode, SandboxOptions } from './types.ts';
