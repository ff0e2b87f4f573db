// Package progress shows how far a command is: on a terminal one line that is drawn over, elsewhere
// a plain line now and then.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/screen"
)

// A Display shows stages of work one after the other. The nil Display shows nothing. It may be used
// by several goroutines.
type Display struct {
	mu      sync.Mutex
	w       io.Writer
	columns func() int // of the terminal; nil where lines are plain

	stage        string
	done, total  int
	first        int // done when it began
	began, drawn time.Time
	width        int             // columns that are drawn on the terminal; 0: none
	told         map[string]bool // stages that plain lines have named
	stop         chan struct{}   // ends the clock; nil where it does not run
}

// OnTerminal returns a display that draws one line on a terminal with so many columns, which may
// change.
func OnTerminal(w io.Writer, columns func() int) *Display {
	return &Display{w: w, columns: columns}
}

// Plain returns a display that writes a line for each stage that lasts, and one now and then while
// it does.
func Plain(w io.Writer) *Display {
	return &Display{w: w, told: map[string]bool{}}
}

const (
	redraw     = 100 * time.Millisecond // at most so often
	tick       = time.Second            // so often where nothing else happens
	tellStage  = 2 * time.Second        // after which a plain line names a stage
	tellAgain  = 30 * time.Second
	knownAfter = time.Second // a guess of the time left before that is none
	leastBar   = 5           // cells of a bar; where there is room for less, there is none
	mostBar    = 30
)

// Update says what is being done, and how much of how much is done. A total of 0 means that nobody
// knows.
func (d *Display) Update(stage string, done, total int) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	anew := stage != d.stage || total != d.total || done < d.done
	if anew {
		d.began, d.first = now, done
		if d.columns == nil && stage != d.stage {
			d.drawn = now
		}
	}
	d.stage, d.done, d.total = stage, done, total
	d.show(now)
	if d.stop == nil {
		d.stop = make(chan struct{})
		stop := d.stop
		go func() {
			defer guard.Recover(new(error)) // decoration is no reason to die of
			d.clock(stop)
		}()
	}
}

// clock lets the time pass on the display.
func (d *Display) clock(stop chan struct{}) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			d.tick(stop)
		}
	}
}

// tick draws anew, unless the display has ended since the clock was started.
func (d *Display) tick(stop chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop == stop {
		d.show(time.Now())
	}
}

// show draws, or tells, if it is time to.
func (d *Display) show(now time.Time) {
	since := now.Sub(d.drawn)
	if d.columns != nil {
		if d.width == 0 || since >= redraw {
			d.draw(now)
		}
		return
	}
	if since >= tellAgain || since >= tellStage && !d.told[d.stage] {
		d.told[d.stage], d.drawn = true, now
		fmt.Fprintf(d.w, "monge: %s\n", strings.Join(d.parts(now), "  "))
	}
}

// draw writes the line over the one before, with one call.
func (d *Display) draw(now time.Time) {
	columns := d.columns()
	line := d.line(now, columns-1) // a full line would make some terminals scroll
	text := d.home(columns) + line + "\x1b[K"
	d.width, d.drawn = max(screen.Width(line), 1), now
	_, _ = io.WriteString(d.w, text) // decoration: an error is none of the user's business
}

// home moves the cursor to where the line begins that is on the screen. In a terminal that has
// become narrower it takes several rows.
func (d *Display) home(columns int) string {
	if rows := (d.width - 1) / max(columns, 1); d.width > 0 && rows > 0 {
		return fmt.Sprintf("\r\x1b[%dA\x1b[J", rows)
	}
	return "\r"
}

// line is what is shown of the state in so many columns.
func (d *Display) line(now time.Time, columns int) string {
	parts := d.parts(now)
	text := strings.Join(parts, "  ")
	if room := columns - screen.Width(text) - 4; d.total > 0 && room >= leastBar {
		cells := min(room, mostBar)
		full := min(cells*d.done/d.total, cells)
		bar := "[" + strings.Repeat("=", full) + strings.Repeat(" ", cells-full) + "]"
		return strings.Join(append([]string{parts[0], bar}, parts[1:]...), "  ")
	}
	rest := text[len(parts[0]):]
	return screen.Shorten(screen.Shorten(parts[0], max(columns-screen.Width(rest), 1))+rest, columns)
}

// parts are the stage, its share and the time: what is left of the stage, or how long it has taken
// where nobody knows that.
func (d *Display) parts(now time.Time) []string {
	parts := []string{screen.Name(d.stage)}
	spent := now.Sub(d.began)
	if d.total > 0 {
		parts = append(parts, fmt.Sprintf("%3d%%", min(100*d.done/d.total, 100)))
		if d.done > d.first && d.done < d.total && spent >= knownAfter {
			left := time.Duration(float64(spent) * float64(d.total-d.done) / float64(d.done-d.first))
			return append(parts, clockTime(left)+" left")
		}
	}
	if spent >= knownAfter {
		parts = append(parts, clockTime(spent))
	}
	return parts
}

// clockTime prints 75 s as 1:15.
func clockTime(t time.Duration) string {
	s := int(t.Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// Pause removes the line, so that others may write, until the next update.
func (d *Display) Pause() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pause()
}

func (d *Display) pause() {
	if d.width > 0 {
		_, _ = io.WriteString(d.w, d.home(d.columns())+"\x1b[K")
		d.width = 0
	}
}

// Close removes the line and stops the clock. Updates may follow.
func (d *Display) Close() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pause()
	if d.stop != nil {
		close(d.stop)
		d.stop = nil
	}
	d.stage, d.done, d.total = "", 0, 0
}
