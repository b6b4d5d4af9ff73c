// Command runc-without-limits runs runc where cgroup v2 has no controllers, as on a hybrid host: it takes out of a container's
// configuration the limits that cannot be held, and leaves everything else, device rules above all, as it is.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "runc-without-limits:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	// Limits are all that update can change, and there are none.
	if slices.Contains(args, "update") {
		return nil
	}
	if slices.Contains(args, "create") || slices.Contains(args, "run") {
		if err := rewrite(filepath.Join(bundle(args), "config.json"), slices.Contains(args, "--systemd-cgroup")); err != nil {
			return err
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	return syscall.Exec(runc, append([]string{"runc"}, args[1:]...), os.Environ())
}

// bundle is the folder named by --bundle or -b, else the current one as for runc itself.
func bundle(args []string) string {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--bundle="); ok {
			return value
		}
		if (arg == "--bundle" || arg == "-b") && i+1 < len(args) {
			return args[i+1]
		}
	}
	return "."
}

func rewrite(path string, systemd bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // 64-bit numbers stay exact
	if err := decoder.Decode(&config); err != nil {
		return err
	}
	linux, _ := config["linux"].(map[string]any)
	if resources, ok := linux["resources"].(map[string]any); ok {
		for _, limit := range []string{"memory", "cpu", "pids", "hugepageLimits", "unified", "blockIO"} {
			delete(resources, limit)
		}
	}
	// Without a QoS cgroup from the kubelet containerd gives a cgroupfs path, which the systemd driver refuses.
	if group, ok := linux["cgroupsPath"].(string); ok && systemd && !strings.Contains(group, ":") {
		linux["cgroupsPath"] = "kubepods-besteffort.slice:cri-containerd:" + filepath.Base(group)
	}
	changed, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(path, changed, 0o644)
}
