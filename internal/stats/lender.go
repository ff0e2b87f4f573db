package stats

import (
	"fmt"
	"sync"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

const (
	// mostLent is how many sessions are kept for the next operator of the same shape, and lentBytes
	// the size of the sums up to which one is: it keeps the memory that it once took.
	mostLent  = 8
	lentBytes = 1 << 20
)

// A lender keeps sessions that were of use, for networks have many operators of a few shapes, and to
// start a session takes longer than to sum up the moments of a small one.
type lender struct {
	mu   sync.Mutex
	idle []lent // the one that came last at the end
}

type lent struct {
	key     string // the model, and the threads that it runs on
	session *engine.Session
}

// take returns a session with a model, and the key to give it back by.
func (l *lender) take(m *onnxio.Model, threads int) (s *engine.Session, key string, err error) {
	bytes, err := m.Encode()
	if err != nil {
		return nil, "", err
	}
	key = fmt.Sprintf("%d %s", threads, bytes)
	l.mu.Lock()
	for i, x := range l.idle {
		if x.key == key {
			l.idle = append(l.idle[:i], l.idle[i+1:]...)
			l.mu.Unlock()
			return x.session, key, nil
		}
	}
	l.mu.Unlock()
	s, err = engine.Open(m, engine.Options{Threads: threads})
	return s, key, err
}

// give takes a session back that nobody uses.
func (l *lender) give(key string, s *engine.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.idle) == mostLent {
		l.idle[0].session.Close()
		l.idle = l.idle[1:]
	}
	l.idle = append(l.idle, lent{key, s})
}

func (l *lender) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.idle {
		x.session.Close()
	}
	l.idle = nil
}
