package report

import (
	"fmt"
	"strconv"

	"github.com/monge-ml/monge/internal/screen"
)

// A Metric tells what a person's own measure was asked.
type Metric struct {
	Command string  `json:"command"`
	Lower   bool    `json:"lower"` // smaller numbers are better
	Calls   int     `json:"calls"`
	Seconds float64 `json:"seconds"` // of all calls
}

// text says what the metric is and how often it was asked; "" where there was none.
func (m *Metric) text() string {
	if m == nil {
		return ""
	}
	better := "larger"
	if m.Lower {
		better = "smaller"
	}
	times := "not asked again"
	if m.Calls > 0 {
		times = fmt.Sprintf("%s, %s in all", plural(m.Calls, "call"), seconds(m.Seconds))
	}
	return fmt.Sprintf("metric: %s; %s is better (%s)\n", screen.Name(m.Command), better, times)
}

// metricNumber prints what a metric says.
func metricNumber(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
