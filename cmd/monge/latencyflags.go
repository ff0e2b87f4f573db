package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/monge-ml/monge/compress"
)

// A latencyFlag is a budget of latency: a share of what the original takes, or a time with its unit.
type latencyFlag struct {
	compress.Latency
	text string
}

func (l *latencyFlag) String() string { return l.text }
func (l *latencyFlag) Type() string   { return "latency" }
func (l *latencyFlag) Set(text string) error {
	var to compress.Latency
	var err error
	if to.Share, err = parseNumber(text); err != nil {
		to.Share = 0
		to.Time, err = time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	}
	if err != nil || to.Share < 0 || to.Share > 1 || to.Time < 0 || to == (compress.Latency{}) {
		return fmt.Errorf("want a share above 0, up to 1, or a time as in 8ms or 500us%s", perhapsPercent(text))
	}
	l.Latency, l.text = to, text
	return nil
}
