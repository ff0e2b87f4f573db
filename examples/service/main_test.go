package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/onnxio"
)

// newService is one that works by weights alone, so that its tests need no onnxruntime.
func newService(t *testing.T) *service {
	s := &service{limit: 1 << 20, timeout: time.Minute, slots: make(chan struct{}, 1), folder: t.TempDir()}
	s.options.NoData = true
	return s
}

// post uploads a model and returns the answer. Nothing of it may be left on the disk.
func post(t *testing.T, s *service, query string, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	server := httptest.NewServer(s.handler())
	defer server.Close()
	answer, err := http.Post(server.URL+"/compress"+query, "application/octet-stream", body)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	server.Close() // waits for the handler
	left, err := os.ReadDir(s.folder)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	return answer, content
}

func network(t *testing.T) []byte {
	model, err := os.ReadFile("../../testdata/mlp_a.onnx")
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func TestCompress(t *testing.T) {
	answer, small := post(t, newService(t), "?macs=0.5", bytes.NewReader(network(t)))
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", answer.Status, small)
	}
	m, err := onnxio.Decode(small, "")
	if err != nil {
		t.Fatal(err)
	}
	var size struct{ Before, After compress.Size }
	if err := json.Unmarshal([]byte(answer.Header.Get("Monge-Size")), &size); err != nil {
		t.Fatal(err)
	}
	if 2*size.After.MACs > size.Before.MACs {
		t.Errorf("%d of %d multiply-accumulates are more than half", size.After.MACs, size.Before.MACs)
	}
	if params, _ := m.Size(); params != size.After.Params {
		t.Errorf("the model has %d parameters, the header says %d", params, size.After.Params)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, query string
		body        io.Reader
		change      func(*service)
		status      int
		says        string
	}{
		{"no budget", "", nil, nil, http.StatusBadRequest, "macs"},
		{"budget that is none", "?macs=NaN", nil, nil, http.StatusBadRequest, "macs"},
		{"too large", "?macs=0.5", strings.NewReader(strings.Repeat("x", 2<<20)), nil, http.StatusRequestEntityTooLarge, "1048576"},
		{"no model", "?macs=0.5", strings.NewReader("no model"), nil, http.StatusUnprocessableEntity, "model.onnx"},
		{"empty", "?macs=0.5", nil, nil, http.StatusUnprocessableEntity, "model.onnx"},
		{"unmet", "?macs=0.0001", bytes.NewReader(network(t)), nil, http.StatusUnprocessableEntity, "budget"},
		{"too long", "?macs=0.5", bytes.NewReader(network(t)), func(s *service) { s.timeout = 0 }, http.StatusGatewayTimeout, "too long"},
		{"busy", "?macs=0.5", nil, func(s *service) { s.slots <- struct{}{} }, http.StatusServiceUnavailable, "busy"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t)
			if test.change != nil {
				test.change(s)
			}
			answer, content := post(t, s, test.query, test.body)
			line := strings.TrimSuffix(string(content), "\n")
			if answer.StatusCode != test.status || !strings.Contains(line, test.says) {
				t.Errorf("%s: %s; want %d and %q", answer.Status, line, test.status, test.says)
			}
			if strings.Contains(line, "\n") || strings.Contains(line, s.folder) {
				t.Errorf("%q is more than a line, or tells a path", line)
			}
		})
	}
}
