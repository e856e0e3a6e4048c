/**
 * Codes of a session's status and log lines. They are stable; the sentences beside them may change.
 *
 * @module
 */

/** The status of a session, or what happened to it, with the meaning of each code. */
export const SESSION_CODES = {
  "starting": "The session has not started",
  "no-kubelet-dir": "The directory of the plugin's socket does not exist",
  "no-kubelet-socket": "kubelet.sock does not exist",
  "kubelet-not-answering": "No process answers on kubelet.sock",
  "registering": "A registration is in progress",
  "registration-rejected": "The kubelet rejected the registration",
  "registered": "The kubelet accepted the registration",
  "no-stream": "The kubelet accepted the registration and has not opened a ListAndWatch stream",
  "brief-streams": "The kubelet keeps ending its stream right after opening it",
  "no-plugin-watcher": "The kubelet's plugin watcher did not connect to the socket",
  "serving": "The plugin's socket is served",
  "socket-failed": "The plugin's socket cannot be created, served or closed",
  "socket-removed": "The plugin's socket was removed; it is created again",
  "socket-dead": "The plugin's socket accepts no connections; a new one is created",
  "sockets-swept": "Unfinished sockets of killed plugins were removed",
  "socket-renewed": "A new socket is created for the plugin watcher",
  "standby": "Another process serves the resource on the same socket",
  "driver-not-ready": "The DRA driver is not registered, or its ResourceSlices are not published",
  "stopped": "The session has ended",
} as const;
export type SessionCode = keyof typeof SESSION_CODES;
