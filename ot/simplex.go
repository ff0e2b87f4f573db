package ot

import "math"

// simplex is the primal network simplex method on a spanning tree of the rows and columns that have
// mass (Dantzig 1951; the tree handling follows Ahuja, Magnanti and Orlin, Network Flows, 1993,
// chapter 11). Arbitrary masses make optimal plans that are one big tree, in which shortest path
// searches would have to wander; here a step costs as much as the path and the subtree that it
// changes.
//
// Nodes are numbered rows first: node i is row i, node n+j is column j. Every node but the root
// hangs on its parent by the entry between the two; entry and node share their index. Trees are
// kept strongly feasible (Cunningham 1976): an entry without mass hangs a row, never a column, so
// that degenerate steps cannot cycle.
type simplex struct {
	t        *transport
	nodes    []node
	pot      []float64 // u of rows, v of columns: u + v = cost along the tree
	listed   []float64 // per row: rise when its candidates were listed
	hub      int32     // node between all rows and columns
	far      float64   // cost of an entry to it: no less than any other
	mirrored bool      // entries without mass hang columns, never rows
	exact    bool      // all potentials are in the exact range
	rise     float64   // by how much potentials of columns may have risen, in all
	looks    int       // at rows for entering entries
	stack    []int32
	entering []entering
}

// node is a row or column in the tree, with the entry to its parent.
type node struct {
	parent            int32 // −1 at the root, unseen where the node takes no part
	depth             int32 // distance from the root
	child, next, prev int32 // first child, next and previous sibling, or −1
	mass              int64
	cost              float64 // in steps of the grid
}

const unseen = -2

// improve moves mass around cycles of negative cost until there are none, beginning with the plan
// so far, which has placed all mass. It returns false if steps abound: then costs are of a kind
// (those of sorted points on a line, say) for which the nearest columns are no good candidates.
func (t *transport) improve() bool {
	s := newSimplex(t)
	s.span()
	return s.finish(s.pivots)
}

// afresh is improve without a plan to begin with and without candidates: whole rows are priced. It
// also returns false where costs so fill the grid that potentials, which count from the hub, leave
// the exact range; transport.run then falls back on shortest paths.
func (t *transport) afresh(u *units) bool {
	s := newSimplex(t)
	s.star(u)
	if !s.finish(s.priceAll) {
		return false
	}
	// Potentials count from the hub, which is far: let them count from the costs.
	shift := math.Inf(-1)
	for j, v := range t.v {
		shift = max(shift, v-t.low[j])
	}
	for j := range t.v {
		t.v[j] -= shift
	}
	return true
}

// finish prices until the tree is optimal. Potentials of a bad tree can be large multiples of the
// costs; where they leave the exact range a coarser grid makes room until the tree is nearly
// optimal, when potentials are no larger than costs.
func (s *simplex) finish(price func() ending) bool {
	end := price()
	if end == outOfRange {
		fine := s.t.grid
		s.regrid(fine.coarser())
		end = price()
		s.regrid(fine)
		if end == optimal {
			end = price()
		}
	}
	if end == optimal {
		s.store()
	}
	return end == optimal
}

// regrid moves all costs and potentials to another grid. Candidates have to be listed anew.
func (s *simplex) regrid(g grid) {
	t := s.t
	t.grid = g
	s.exact = true
	n := int32(t.n)
	for x := range s.nodes {
		p := s.nodes[x].parent
		if p == -1 {
			s.pot[x] = 0
			s.stack = append(s.stack[:0], int32(x))
		} else if p == s.hub {
			s.nodes[x].cost = g.steps(s.far)
		} else if p >= 0 {
			row, col := int32(x), p
			if row >= n {
				row, col = col, row
			}
			s.nodes[x].cost = g.steps(t.costs.At(int(row), int(col-n)))
		}
	}
	for len(s.stack) > 0 {
		x := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		for c := s.nodes[x].child; c >= 0; c = s.nodes[c].next {
			s.setPot(c, s.nodes[c].cost-s.pot[x])
			s.stack = append(s.stack, c)
		}
	}
	for j := range t.v {
		if s.nodes[t.n+j].parent != unseen {
			t.v[j] = s.pot[t.n+j]
		}
	}
	for i := range t.lists {
		l := &t.lists[i]
		l.items, l.bound, l.want = l.items[:0], math.Inf(-1), firstWant(t.k)
	}
}

// setPot sets a potential and notes if it is too large to calculate with.
func (s *simplex) setPot(x int32, p float64) {
	s.pot[x] = p
	s.exact = s.exact && p <= exactRange && p >= -exactRange
}

func newSimplex(t *transport) *simplex {
	s := &simplex{t: t, nodes: make([]node, t.n+t.k+1), pot: make([]float64, t.n+t.k+1), hub: int32(t.n + t.k), far: t.grid.cost(1 << 51), listed: make([]float64, t.n), exact: true}
	for x := range s.nodes {
		s.nodes[x] = node{parent: unseen, child: -1, next: -1, prev: -1}
	}
	for j, r := range t.v {
		if math.IsInf(r, -1) {
			s.pot[t.n+j] = r // takes no part, so is never priced
		}
	}
	return s
}

// span makes a spanning tree of the entries of the plan, which form no cycle, and of entries
// without mass between its components.
func (s *simplex) span() {
	t := s.t
	n := int32(t.n)
	f := forest{adj: make([][]link, t.n+t.k)}
	for j := range int32(t.k) {
		for e := t.flows.head[j]; e >= 0; e = t.flows.entries[e].next {
			f.link(t.flows.entries[e].row, n+j, e)
		}
	}
	first := true
	for root := range n {
		if s.nodes[root].parent != unseen || len(f.adj[root]) == 0 {
			continue
		}
		s.nodes[root].parent = -1
		if !first {
			// Hang the component by a row, at its cheapest column in the tree so far.
			j, cost := s.nearest(root)
			s.nodes[root].cost = cost
			s.setPot(root, cost-s.pot[n+j])
			s.attach(root, n+j)
		}
		first = false
		s.stack = append(s.stack[:0], root)
		for len(s.stack) > 0 {
			x := s.stack[len(s.stack)-1]
			s.stack = s.stack[:len(s.stack)-1]
			for _, l := range f.adj[x] {
				y := l.row + l.col - x
				if s.nodes[y].parent != unseen {
					continue
				}
				e := &t.flows.entries[l.entry]
				s.nodes[y].mass, s.nodes[y].cost = e.mass, e.cost
				s.setPot(y, e.cost-s.pot[x])
				s.attach(y, x)
				s.stack = append(s.stack, y)
			}
		}
	}
}

// star makes a tree in which every row sends its mass to the hub, and every column receives its own
// from there. Between them all entries are cheaper than two of these, so that no mass is left there
// in the end.
func (s *simplex) star(u *units) {
	s.nodes[s.hub].parent = -1
	s.mirrored = true
	far := s.t.grid.steps(s.far)
	hang := func(x int32, mass int64) {
		if mass > 0 {
			s.nodes[x].mass, s.nodes[x].cost = mass, far
			s.setPot(x, far)
			s.attach(x, s.hub)
		}
	}
	for i, m := range u.rows {
		hang(int32(i), m)
	}
	for j, m := range u.cols {
		hang(int32(s.t.n+j), m)
	}
}

// nearest returns the cheapest column in the tree for row i, by reduced cost.
func (s *simplex) nearest(i int32) (col int32, cost float64) {
	t := s.t
	least := math.Inf(1)
	for j, x := range t.costs.Row(int(i), t.scan.row) {
		y := t.n + j
		if s.nodes[y].parent == unseen {
			continue
		}
		if c := t.grid.steps(x); c-s.pot[y] < least {
			least, col, cost = c-s.pot[y], int32(j), c
		}
	}
	return col, cost
}

// attach makes x a child of p.
func (s *simplex) attach(x, p int32) {
	s.nodes[x].parent = p
	s.nodes[x].depth = s.nodes[p].depth + 1
	s.nodes[x].prev = -1
	s.nodes[x].next = s.nodes[p].child
	if s.nodes[p].child >= 0 {
		s.nodes[s.nodes[p].child].prev = x
	}
	s.nodes[p].child = x
}

// detach takes x from its parent.
func (s *simplex) detach(x int32) {
	if s.nodes[x].prev >= 0 {
		s.nodes[s.nodes[x].prev].next = s.nodes[x].next
	} else {
		s.nodes[s.nodes[x].parent].child = s.nodes[x].next
	}
	if s.nodes[x].next >= 0 {
		s.nodes[s.nodes[x].next].prev = s.nodes[x].prev
	}
}

// pivot brings the entry of row i and column j into the tree, whose reduced cost is rc < 0.
func (s *simplex) pivot(i, j int32, cost, rc float64) {
	s.t.stats.Pivots++
	row, col := i, int32(s.t.n)+j
	// The mass that i sends to j leaves other columns of i and comes from other rows of j, and so
	// on up to where both paths meet. Of the entries that run empty first, the last one on the way
	// from the meeting point over i and j back to it leaves the tree.
	delta := int64(math.MaxInt64)
	out, onRowSide := int32(-1), false
	join := s.join(row, col)
	for x := row; x != join; x = s.nodes[x].parent {
		if m := s.nodes[x].mass; s.isRow(x) && (m < delta || m == delta && s.mirrored) {
			delta, out, onRowSide = m, x, true
		}
	}
	for y := col; y != join; y = s.nodes[y].parent {
		if m := s.nodes[y].mass; !s.isRow(y) && (m < delta || m == delta && !s.mirrored) {
			delta, out, onRowSide = m, y, false
		}
	}
	if delta > 0 {
		s.move(row, join, -delta)
		s.move(col, join, delta)
	}
	// The subtree below the leaving entry hangs on the entering one from now on.
	in, to := row, col
	if !onRowSide {
		in, to = col, row
	}
	s.reverse(in, out)
	s.nodes[in].mass, s.nodes[in].cost = delta, cost
	s.attach(in, to)
	s.shift(in, rc)
}

// move adds mass to the entries by which rows hang on the way from x to join, and takes it from
// those of columns.
func (s *simplex) move(x, join int32, mass int64) {
	for ; x != join; x = s.nodes[x].parent {
		if s.isRow(x) {
			s.nodes[x].mass += mass
		} else {
			s.nodes[x].mass -= mass
		}
	}
}

func (s *simplex) isRow(x int32) bool { return x < int32(s.t.n) }

// join returns the deepest common ancestor of x and y.
func (s *simplex) join(x, y int32) int32 {
	for x != y {
		if s.nodes[x].depth >= s.nodes[y].depth {
			x = s.nodes[x].parent
		} else {
			y = s.nodes[y].parent
		}
	}
	return x
}

// reverse detaches the subtree of out and turns it so that in becomes its top.
func (s *simplex) reverse(in, out int32) {
	x, p := in, s.nodes[in].parent
	mass, cost := s.nodes[in].mass, s.nodes[in].cost
	s.detach(in)
	for x != out {
		up := s.nodes[p].parent
		nextMass, nextCost := s.nodes[p].mass, s.nodes[p].cost
		s.detach(p)
		s.nodes[p].mass, s.nodes[p].cost = mass, cost
		s.attach(p, x)
		mass, cost = nextMass, nextCost
		x, p = p, up
	}
}

// shift adds rc to the potentials of the kind of node top in its subtree, and takes it from the
// others, and sets the depths.
func (s *simplex) shift(top int32, rc float64) {
	if !s.isRow(top) {
		rc = -rc // so that rows gain rc in either case
	}
	n := int32(s.t.n)
	s.stack = append(s.stack[:0], top)
	exact := s.exact
	for len(s.stack) > 0 {
		x := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		p := s.pot[x]
		if x < n {
			p += rc
		} else {
			p -= rc
		}
		s.pot[x] = p
		exact = exact && p <= exactRange && p >= -exactRange
		node := &s.nodes[x]
		node.depth = s.nodes[node.parent].depth + 1
		for c := node.child; c >= 0; c = s.nodes[c].next {
			s.stack = append(s.stack, c)
		}
	}
	s.exact = exact
}

// store writes the plan and the potentials of the tree back.
func (s *simplex) store() {
	t := s.t
	t.flows = newFlows(t.n, t.k)
	for x := range s.nodes {
		p := s.nodes[x].parent
		if p < 0 || p == s.hub || s.nodes[x].mass == 0 {
			continue
		}
		row, col := int32(x), p
		if !s.isRow(row) {
			row, col = col, row
		}
		t.flows.add(row, col-int32(t.n), s.nodes[x].cost, s.nodes[x].mass)
	}
	for j := range t.v {
		if s.nodes[t.n+j].parent != unseen {
			t.v[j] = s.pot[t.n+j]
		}
	}
}
