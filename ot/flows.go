package ot

// flow is the mass of one row in one column.
type flow struct {
	cost float64 // in steps of the grid
	mass int64
	row  int32
	next int32 // index of the next entry of the same column, or −1
}

// flows are the entries of the growing plan, a linked list for each column.
type flows struct {
	entries []flow
	head    []int32 // per column: index of its first entry, or −1
	free    int32   // first of the unused entries, or −1
}

func newFlows(n, k int) flows {
	f := flows{entries: make([]flow, 0, n+k), head: make([]int32, k), free: -1}
	for j := range f.head {
		f.head[j] = -1
	}
	return f
}

// add adds mass m of row i to column j.
func (f *flows) add(i, j int32, cost float64, m int64) {
	for e := f.head[j]; e >= 0; e = f.entries[e].next {
		if f.entries[e].row == i {
			f.entries[e].mass += m
			return
		}
	}
	e := f.free
	if e >= 0 {
		f.free = f.entries[e].next
	} else {
		e = int32(len(f.entries))
		f.entries = append(f.entries, flow{})
	}
	f.entries[e] = flow{cost: cost, mass: m, row: i, next: f.head[j]}
	f.head[j] = e
}

// take removes mass m of entry e from column j, and the entry when nothing is left.
func (f *flows) take(j, e int32, m int64) {
	f.entries[e].mass -= m
	if f.entries[e].mass > 0 {
		return
	}
	link := &f.head[j]
	for *link != e {
		link = &f.entries[*link].next
	}
	*link = f.entries[e].next
	f.entries[e].next = f.free
	f.free = e
}
