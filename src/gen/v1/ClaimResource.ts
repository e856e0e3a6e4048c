// Original file: proto/podresources.proto


export interface ClaimResource {
  'driver_name'?: (string);
  'pool_name'?: (string);
  'device_name'?: (string);
}

export interface ClaimResource__Output {
  'driver_name': (string);
  'pool_name': (string);
  'device_name': (string);
}
