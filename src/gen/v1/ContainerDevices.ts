// Original file: proto/podresources.proto


export interface ContainerDevices {
  'resource_name'?: (string);
  'device_ids'?: (string)[];
}

export interface ContainerDevices__Output {
  'resource_name': (string);
  'device_ids': (string)[];
}
