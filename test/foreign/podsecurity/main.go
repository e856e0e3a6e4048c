// Says which pod security controls a pod breaks, by the code that the API server's own admission runs: the pod as JSON on
// standard input, a line "LEVEL CONTROL" for each on standard output.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	var pod corev1.Pod
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err == nil {
		err = json.NewDecoder(os.Stdin).Decode(&pod)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	seen := map[string]bool{}
	for _, level := range []api.Level{api.LevelBaseline, api.LevelRestricted} {
		version := api.LevelVersion{Level: level, Version: api.LatestVersion()}
		for _, result := range evaluator.EvaluatePod(version, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed && !seen[result.ForbiddenReason] {
				seen[result.ForbiddenReason] = true
				fmt.Println(level, result.ForbiddenReason)
			}
		}
	}
}
