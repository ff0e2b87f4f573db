package ot

// breakCycles moves mass around the cycles of a plan until none is left. All entries of an optimal
// plan are tight, so a cycle of them can be emptied at no cost; cycles come only from ties. What
// remains has at most n+k−1 entries.
func (t *transport) breakCycles() {
	if !t.cyclic() {
		return
	}
	f := forest{adj: make([][]link, t.n+t.k), seen: make([]int32, t.n+t.k)}
	g := newGroups(t.n + t.k) // nodes that are or have been connected
	for j := range int32(t.k) {
		for e := t.flows.head[j]; e >= 0; {
			next := t.flows.entries[e].next
			row, col := t.flows.entries[e].row, int32(t.n)+j
			var path []link
			if !g.join(row, col) {
				path = f.path(row, col)
			}
			if path == nil || t.breakCycle(&f, path, e) {
				f.link(row, col, e)
			}
			e = next
		}
	}
}

// cyclic tells whether the entries of the plan form a cycle.
func (t *transport) cyclic() bool {
	g := newGroups(t.n + t.k)
	for j := range int32(t.k) {
		for e := t.flows.head[j]; e >= 0; e = t.flows.entries[e].next {
			if !g.join(t.flows.entries[e].row, int32(t.n)+j) {
				return true
			}
		}
	}
	return false
}

// breakCycle empties the cycle that entry e closes with a path. It tells whether e remains, in
// which case another entry of the cycle has left the forest.
func (t *transport) breakCycle(f *forest, path []link, e int32) bool {
	// e and the odd places of the path lose what the even places win, until one is empty.
	entries := t.flows.entries
	least := entries[e].mass
	for x := 1; x < len(path); x += 2 {
		least = min(least, entries[path[x].entry].mass)
	}
	col := path[0].col // the path starts at the column of e
	for x, l := range path {
		if x%2 == 0 {
			entries[l.entry].mass += least
			continue
		}
		t.flows.take(l.col-int32(t.n), l.entry, least)
		if entries[l.entry].mass == 0 {
			f.unlink(l)
		}
	}
	t.flows.take(col-int32(t.n), e, least)
	return entries[e].mass > 0
}

// link is an entry of the plan as an edge between a row node and a column node.
type link struct{ row, col, entry int32 }

// forest is a set of links without cycles.
type forest struct {
	adj   [][]link
	seen  []int32 // stamps of the last search
	stamp int32
	queue []step
	way   []link // the last path found
}

// step is a node on the way of a search, reached via a link from queue[back].
type step struct {
	node int32
	via  link
	back int
}

func (f *forest) link(row, col, entry int32) {
	l := link{row, col, entry}
	f.adj[row] = append(f.adj[row], l)
	f.adj[col] = append(f.adj[col], l)
}

func (f *forest) unlink(l link) {
	for _, x := range [2]int32{l.row, l.col} {
		a := f.adj[x]
		for p := range a {
			if a[p] == l {
				a[p] = a[len(a)-1]
				f.adj[x] = a[:len(a)-1]
				break
			}
		}
	}
}

// path returns the links between two nodes, those at the node to first, or nil.
func (f *forest) path(from, to int32) []link {
	f.stamp++
	queue := append(f.queue[:0], step{node: from, back: -1})
	f.seen[from] = f.stamp
	for head := 0; head < len(queue); head++ {
		s := queue[head]
		if s.node == to {
			f.queue = queue
			f.way = f.way[:0]
			for x := head; x > 0; x = queue[x].back {
				f.way = append(f.way, queue[x].via)
			}
			return f.way
		}
		for _, l := range f.adj[s.node] {
			next := l.row + l.col - s.node
			if f.seen[next] != f.stamp {
				f.seen[next] = f.stamp
				queue = append(queue, step{next, l, head})
			}
		}
	}
	return nil
}

// groups is a union-find structure.
type groups []int32

func newGroups(n int) groups {
	g := make(groups, n)
	for x := range g {
		g[x] = int32(x)
	}
	return g
}

func (g groups) find(x int32) int32 {
	for g[x] != x {
		g[x] = g[g[x]]
		x = g[x]
	}
	return x
}

// join unites the groups of x and y, unless they are the same.
func (g groups) join(x, y int32) bool {
	x, y = g.find(x), g.find(y)
	if x == y {
		return false
	}
	g[x] = y
	return true
}
