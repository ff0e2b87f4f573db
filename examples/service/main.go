// Service compresses models that are uploaded to it.
//
//	go run ./examples/service -listen localhost:8080 &
//	curl --data-binary @model.onnx 'localhost:8080/compress?macs=0.5' -o small.onnx
//
// Uploads are taken for hostile: their size, the time and the memory that they get, and how many are
// worked on at once are bounded; models are first run in another process, so that one that
// onnxruntime dies of does not take the service with it; and nothing stays on the disk.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// trialArgument, alone, makes the program the one in which models are run for the first time.
const trialArgument = "__trial"

func main() {
	if len(os.Args) == 2 && os.Args[1] == trialArgument {
		if err := engine.ServeTrial(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	listen := flag.String("listen", "localhost:8080", "address to listen at")
	data := flag.String("data", "", "data set that models are refitted on, scaled from 0..255 to 0..1 (default: made-up inputs)")
	s := service{slots: make(chan struct{}, 1)}
	flag.Int64Var(&s.limit, "limit", 256<<20, "bytes of the largest model")
	flag.DurationVar(&s.timeout, "timeout", 10*time.Minute, "time that one compression may take")
	flag.Parse()

	s.options.Memory = 2 << 30
	s.options.Time = s.timeout / 2 // leaves room for what cannot be shortened
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.options.Trials = &engine.Trial{Command: []string{self, trialArgument}}
	if *data != "" {
		if s.options.Data, err = dataset.Open(*data, dataset.Preprocess{Scale: 1.0 / 255}, dataset.Options{}); err != nil {
			return err
		}
	}
	return serve(*listen, s.handler(), s.timeout)
}

// serve listens until the program is told to end, and then lets requests end first.
func serve(address string, h http.Handler, timeout time.Duration) error {
	server := &http.Server{
		Addr: address, Handler: h,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute,
		WriteTimeout: timeout + 4*time.Minute, // begins before the upload is read
		IdleTimeout:  time.Minute, MaxHeaderBytes: 16 << 10,
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop() // a second signal ends it at once
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return server.Shutdown(ctx)
}

// A service compresses what is uploaded to it.
type service struct {
	options compress.Options // without a budget, which comes with the request
	limit   int64            // bytes of the largest model
	timeout time.Duration    // of one compression
	slots   chan struct{}    // has room for as many compressions as there may be at once
	folder  string           // in which uploads get folders of their own; "": the system's
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /compress", s.compress)
	return mux
}

// compress answers with the model of the request's body, made narrower, and with a line of JSON in
// the header Monge-Size. The parameter macs is the share of multiply-accumulates that may remain.
func (s *service) compress(w http.ResponseWriter, r *http.Request) {
	o := s.options
	macs, err := strconv.ParseFloat(r.URL.Query().Get("macs"), 64)
	if err != nil || !(macs > 0 && macs <= 1) {
		http.Error(w, "macs: want a share of multiply-accumulates, as in /compress?macs=0.5", http.StatusBadRequest)
		return
	}
	o.MACs = macs
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		w.Header().Set("Retry-After", "60")
		http.Error(w, "busy with other models", http.StatusServiceUnavailable)
		return
	}
	folder, err := os.MkdirTemp(s.folder, "upload-")
	if err != nil {
		log.Print(err)
		http.Error(w, "no room for the model", http.StatusInternalServerError)
		return
	}
	defer os.RemoveAll(folder)
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	defer cancel()

	in, out := filepath.Join(folder, "model.onnx"), filepath.Join(folder, "small.onnx")
	if err := receive(in, http.MaxBytesReader(w, r.Body, s.limit)); err != nil {
		refuse(w, folder, err)
		return
	}
	report, err := narrow(ctx, in, out, o)
	if err != nil {
		refuse(w, folder, err)
		return
	}
	if err := answer(w, out, report); err != nil {
		log.Print(err) // the answer has begun, or the other side has gone
	}
}

// receive writes an upload to a file.
func receive(path string, body io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close())
}

// narrow compresses one file into another.
func narrow(ctx context.Context, in, out string, o compress.Options) (*compress.Report, error) {
	wide, err := onnxio.Load(in)
	if err != nil {
		return nil, err
	}
	small, report, err := compress.Model(ctx, wide, o)
	if err != nil {
		return nil, err
	}
	return report, onnxio.Save(ctx, out, small, onnxio.SaveOptions{})
}

// answer sends the result.
func answer(w http.ResponseWriter, path string, report *compress.Report) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := json.Marshal(map[string]compress.Size{"before": report.Before, "after": report.After})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Monge-Size", string(size))
	_, err = io.Copy(w, f)
	return err
}

// refuse answers with what is wrong with an upload, without the paths of this machine.
func refuse(w http.ResponseWriter, folder string, err error) {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, fmt.Sprintf("the model has more than %d bytes", large.Limit), http.StatusRequestEntityTooLarge)
	case errors.Is(err, context.DeadlineExceeded):
		http.Error(w, "the compression took too long", http.StatusGatewayTimeout)
	default:
		http.Error(w, strings.ReplaceAll(err.Error(), folder+string(filepath.Separator), ""), http.StatusUnprocessableEntity)
	}
}
