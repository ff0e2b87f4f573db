//go:build unix

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/report"
)

const cluster = "../../examples/cluster/"

// A piece of a sweep makes the model of its number, and leaves alone what is done.
func TestClusterPiece(t *testing.T) {
	enginetest.Require(t)
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	models, sweep := t.TempDir(), filepath.Join(t.TempDir(), "sweep")
	for _, name := range []string{"mlp_a.onnx", "mlp_b.onnx"} {
		raw, err := os.ReadFile(modeltest.Dir(name))
		if err == nil {
			err = os.WriteFile(filepath.Join(models, name), raw, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	piece := func(number string) (string, error) {
		cmd := exec.Command(bash, cluster+"piece.sh")
		cmd.Env = append(os.Environ(), asProgram+"=1", "MONGE="+os.Args[0], "MODELS="+models, "SHARES=0.8 0.5",
			"DATA="+modeltest.Dir("mnist_calib.npz"), "OUT="+sweep, "FLAGS=--preset mnist --limit 60", number)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := piece("SLURM_ARRAY_TASK_ID=1"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(sweep, "mlp_a", "0.5", "explore.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report.Exploration
	if err := json.Unmarshal(raw, &r); err != nil || len(r.Points) != 1 || r.Points[0].Share != 0.5 {
		t.Errorf("%v, %+v", err, r.Points)
	}
	if out, err := piece("SLURM_ARRAY_TASK_ID=1"); err != nil || !strings.Contains(out, "is done") {
		t.Errorf("again: %v, %s", err, out)
	}
	if out, err := piece("JOB_COMPLETION_INDEX=2"); err != nil || !exists(filepath.Join(sweep, "mlp_b", "0.8", "explore.json")) {
		t.Errorf("an indexed job: %v, %s", err, out)
	}
	if out, err := piece("SLURM_ARRAY_TASK_ID=4"); err == nil || !strings.Contains(out, "there is none") {
		t.Errorf("beyond the last piece: %v, %s", err, out)
	}
}

// The Kubernetes job is YAML of the form that an indexed job has, and starts the same script.
func TestClusterJob(t *testing.T) {
	raw, err := os.ReadFile(cluster + "job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var job struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name string }
		Spec       struct {
			CompletionMode           string `yaml:"completionMode"`
			Completions, Parallelism int
			BackoffLimitPerIndex     int    `yaml:"backoffLimitPerIndex"`
			MaxFailedIndexes         int    `yaml:"maxFailedIndexes"`
			PodReplacementPolicy     string `yaml:"podReplacementPolicy"`
			Template                 struct {
				Spec struct {
					RestartPolicy   string         `yaml:"restartPolicy"`
					SecurityContext map[string]any `yaml:"securityContext"`
					Containers      []struct {
						Name, Image     string
						Command         []string
						Env             []struct{ Name, Value string }
						Resources       map[string]map[string]string
						VolumeMounts    []map[string]any `yaml:"volumeMounts"`
						SecurityContext map[string]any   `yaml:"securityContext"`
					}
					Volumes []map[string]any
				}
			}
		}
	}
	d := yaml.NewDecoder(strings.NewReader(string(raw)))
	d.KnownFields(true)
	if err := d.Decode(&job); err != nil {
		t.Fatal(err)
	}
	s := job.Spec
	if job.APIVersion != "batch/v1" || job.Kind != "Job" || s.CompletionMode != "Indexed" || s.BackoffLimitPerIndex < 1 || s.Template.Spec.RestartPolicy != "Never" {
		t.Errorf("%+v", job)
	}
	if len(s.Template.Spec.Containers) != 1 || !slices.Contains(s.Template.Spec.Containers[0].Command, "/piece/piece.sh") {
		t.Fatalf("%+v", s.Template.Spec.Containers)
	}
	for _, e := range s.Template.Spec.Containers[0].Env {
		if e.Name == "SHARES" && s.Completions%len(strings.Fields(e.Value)) != 0 {
			t.Errorf("%d pieces at the shares %s", s.Completions, e.Value)
		}
	}
}
