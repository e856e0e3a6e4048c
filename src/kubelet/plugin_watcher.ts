/**
 * The Registration service of the kubelet's plugin watcher: the kubelet finds a plugin's socket in plugins_registry,
 * asks for its identity, and reports whether it accepts the plugin.
 *
 * @module
 */
import type { sendUnaryData, ServerUnaryCall, ServiceDefinition, UntypedHandleCall } from "@grpc/grpc-js";
import type { PluginInfo } from "../gen/pluginregistration/PluginInfo.ts";
import type { RegistrationStatus } from "../gen/pluginregistration/RegistrationStatus.ts";
import { watcherServices } from "./api.ts";

/** A service to add to a plugin's server. */
export interface WatcherService {
  readonly definition: ServiceDefinition;
  readonly handlers: Readonly<Record<string, UntypedHandleCall>>;
}

/**
 * Creates the service for one plugin.
 *
 * @param plugin its identity; `endpoint` is the full path of the socket that serves the plugin's API
 * @param onStatus called with the kubelet's decision: null when it accepted the plugin, otherwise its error message
 */
export function watcherService(plugin: PluginInfo, onStatus: (refusal: string | null) => void): WatcherService {
  return {
    definition: watcherServices()["pluginregistration.Registration"],
    handlers: {
      GetInfo: (_call: unknown, callback: sendUnaryData<PluginInfo>) => callback(null, plugin),
      NotifyRegistrationStatus: (
        call: ServerUnaryCall<RegistrationStatus, object>,
        callback: sendUnaryData<object>,
      ) => {
        callback(null, {});
        onStatus(call.request.plugin_registered ? null : call.request.error || "without a reason");
      },
    },
  };
}
