import { equal, match } from "@std/assert";
import { kubernetesModule } from "../support/cluster/programs.ts";
import { versionsFor } from "../support/cluster/versions.ts";

const RELEASED = `module k8s.io/kubernetes

go 1.26.0

require (
	github.com/fsnotify/fsnotify v1.9.0
	k8s.io/api v0.0.0
	k8s.io/utils v0.0.0-20260210185600-b8788abfbbc2
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
)
`;

Deno.test("kubernetesModule() takes the published modules in place of the source tree's directories", () => {
  const { goMod, sources } = kubernetesModule(RELEASED, "1.36.3", "k8s.io/kubernetes/cmd/kubelet");
  match(goMod, /^module localhost\/kubernetes$/m);
  match(goMod, /^\tk8s\.io\/api => k8s\.io\/api v0\.36\.3$/m);
  match(goMod, /^\tk8s\.io\/api v0\.36\.3$/m);
  match(goMod, /^\tk8s\.io\/utils v0\.0\.0-20260210185600-b8788abfbbc2$/m);
  match(goMod, /^require k8s\.io\/kubernetes v1\.36\.3$/m);
  match(sources["tools.go"] ?? "", /import _ "k8s\.io\/kubernetes\/cmd\/kubelet"/);
});

Deno.test("versionsFor() joins no kubelet to an older control plane", () => {
  equal(versionsFor("1.34.4").controlPlane, "1.36.3");
  equal(versionsFor("1.37.2").controlPlane, "1.37.2");
});
