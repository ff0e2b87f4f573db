package progress

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A recorder keeps every write.
type recorder struct {
	mu   sync.Mutex
	list []string
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, string(p))
	return len(p), nil
}

func (r *recorder) writes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// visible is what a terminal of so many columns shows after some writes, which hold nothing but the
// sequences that this package uses.
func visible(writes []string, columns int) string {
	rows, row, at := [][]rune{nil}, 0, 0
	for _, m := range regexp.MustCompile("\x1b\\[(\\d*)([AJK])|\r|\n|[^\x1b\r\n]").FindAllStringSubmatch(strings.Join(writes, ""), -1) {
		switch {
		case m[0] == "\r":
			at = 0
		case m[0] == "\n":
			row, at = row+1, 0
			for row >= len(rows) {
				rows = append(rows, nil)
			}
		case m[2] == "A":
			var n int
			fmt.Sscan(m[1], &n)
			row -= n
		case m[2] == "J":
			rows = rows[:row+1]
			rows[row] = rows[row][:min(at, len(rows[row]))]
		case m[2] == "K":
			rows[row] = rows[row][:min(at, len(rows[row]))]
		default:
			if at == columns {
				row, at = row+1, 0
				rows = append(rows, nil)
			}
			rows[row] = append(rows[row][:min(at, len(rows[row]))], []rune(m[0])...)
			at++
		}
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, strings.TrimRight(string(r), " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func TestOneLineOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		columns := 60
		d := OnTerminal(&r, func() int { return columns })
		began := time.Now()
		for i := range 500 {
			d.Update("refitting layers", i, 500)
			time.Sleep(10 * time.Millisecond)
			if i%100 != 0 {
				continue
			}
			if shown := visible(r.writes(), columns); strings.Contains(shown, "\n") {
				t.Fatalf("more than one line: %q", shown)
			}
		}
		if most := int(time.Since(began)/redraw) + 1; len(r.writes()) > most {
			t.Errorf("%d writes, want at most %d", len(r.writes()), most)
		}
		if got := visible(r.writes(), columns); !strings.HasPrefix(got, "refitting layers  [=====") || !strings.HasSuffix(got, "%  0:00 left") {
			t.Errorf("%q", got)
		}
		// A stage that nobody knows the length of: time passes all the same.
		d.Update("measuring", 0, 0)
		time.Sleep(75*time.Second + 500*time.Millisecond)
		if got := visible(r.writes(), columns); got != "measuring  1:15" {
			t.Errorf("%q", got)
		}
		d.Pause()
		if got := visible(r.writes(), columns); got != "" {
			t.Errorf("%q is left while others write", got)
		}
		d.Update("measuring", 0, 0)
		d.Close()
		if got := visible(r.writes(), columns); got != "" {
			t.Errorf("%q is left at the end", got)
		}
		written := len(r.writes())
		time.Sleep(time.Minute)
		if len(r.writes()) != written {
			t.Error("the clock goes on after the end")
		}
	})
}

func TestNarrowTerminals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for columns := range 30 {
			var r recorder
			d := OnTerminal(&r, func() int { return columns })
			d.Update("a stage with a rather long name", 3, 10)
			d.Close()
			for _, w := range r.writes() {
				if n := len([]rune(regexp.MustCompile("\x1b\\[\\d*[AJK]|\r").ReplaceAllString(w, ""))); n >= max(columns, 1) {
					t.Errorf("%d characters on a terminal of %d columns", n, columns)
				}
			}
		}
	})
}

// Where a terminal becomes narrower, the line that was there is removed whole.
func TestResizedTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		var columns atomic.Int32
		columns.Store(80)
		d := OnTerminal(&r, func() int { return int(columns.Load()) })
		d.Update("refitting layers", 3, 10)
		columns.Store(20)
		time.Sleep(2 * time.Second)
		if got := visible(r.writes(), 20); strings.Contains(got, "\n") || !strings.Contains(got, "30%") {
			t.Errorf("%q", got)
		}
		d.Close()
		if got := visible(r.writes(), 20); got != "" {
			t.Errorf("%q is left", got)
		}
	})
}

func TestPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := Plain(&r)
		d.Update("a short stage", 0, 10)
		time.Sleep(time.Second)
		d.Update("refitting\x1b[2J layers", 0, 10)
		for i := range 10 {
			time.Sleep(7 * time.Second)
			d.Update("refitting\x1b[2J layers", i+1, 10)
		}
		d.Close()
		got := strings.Join(r.writes(), "")
		want := `monge: "refitting\x1b[2J layers"    0%  0:02` + "\n" +
			`monge: "refitting\x1b[2J layers"   40%  0:48 left` + "\n" +
			`monge: "refitting\x1b[2J layers"   80%  0:16 left` + "\n"
		if got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestNilDisplay(t *testing.T) {
	var d *Display
	d.Update("x", 1, 2)
	d.Pause()
	d.Close()
}

// What was done before a stage began, or before it was counted anew, tells nothing of its pace.
func TestTimeLeftOfAStageThatBeginsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := OnTerminal(&r, func() int { return 60 })
		for i := range 11 {
			d.Update("distilling", 500+10*i, 1000)
			time.Sleep(time.Second)
		}
		// The last line may be drawn just before the last update, just after it, or a second later.
		got := visible(r.writes(), 60)
		if !slices.ContainsFunc([]string{"0:46 left", "0:40 left", "0:44 left"}, func(end string) bool { return strings.HasSuffix(got, end) }) {
			t.Errorf("%q", got)
		}
		d.Close()
	})
}
