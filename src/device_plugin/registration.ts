/**
 * The Register call on `kubelet.sock`.
 *
 * @module
 */
import type { ServiceError } from "@grpc/grpc-js";
import { API_VERSION, devicePluginServices, method, type RegisterRequest, withoutAnswer } from "../kubelet/api.ts";
import { closeClient, localClient } from "../kubelet/local_client.ts";

/** The kubelet dials back for up to 10 s inside Register; a shorter deadline would give up on a slow kubelet. */
const REGISTER_TIMEOUT_MS = 15_000;

/** The kubelet rejected the registration, or did not answer. */
export class RegistrationError extends Error {
  override readonly name = "RegistrationError";
  /** True when nothing listens on the kubelet's socket: it is down or restarting, which is not a rejection. */
  readonly unreachable: boolean;

  constructor(message: string, unreachable: boolean, options?: ErrorOptions) {
    super(message, options);
    this.unreachable = unreachable;
  }
}

/**
 * Calls Register once.
 *
 * @param endpoint file name of the plugin's socket in the kubelet's directory
 * @throws {RegistrationError} with the kubelet's error message
 */
export async function register(
  kubeletSocket: string,
  resource: string,
  endpoint: string,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) throw stopping(signal);
  const { path, requestSerialize, responseDeserialize } = method<RegisterRequest, object>(
    devicePluginServices()["v1beta1.Registration"],
    "Register",
  );
  const request: RegisterRequest = {
    version: API_VERSION,
    endpoint,
    resource_name: resource,
    options: { get_preferred_allocation_available: true },
  };
  const client = localClient(kubeletSocket);
  try {
    await new Promise<void>((resolve, reject) => {
      const done = (error: ServiceError | null) => {
        signal.removeEventListener("abort", cancel);
        if (error === null) return resolve();
        reject(new RegistrationError(error.details || error.message, withoutAnswer(error), { cause: error }));
      };
      const deadline = Date.now() + REGISTER_TIMEOUT_MS;
      const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, { deadline }, done);
      const cancel = () => {
        call.cancel();
        // Rejected here, because grpc-js may never report a call that is cancelled while its channel connects.
        reject(stopping(signal));
      };
      signal.addEventListener("abort", cancel, { once: true });
    });
  } finally {
    await closeClient(client);
  }
}

function stopping({ reason }: AbortSignal): RegistrationError {
  return new RegistrationError("the plugin is stopping", true, { cause: reason });
}
