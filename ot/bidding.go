package ot

import "math"

// bidsPerRow limits the row reduction: what is then still open goes to the search of paths. Only
// ties come near it.
const bidsPerRow = 8

// bidding is the augmenting row reduction of Jonker and Volgenant, for columns that may hold the
// mass of several rows. The margin of a row in a column is what it would lose by going elsewhere,
// its second least reduced cost minus the least. Rows with supply bid for their cheapest column. In
// a full column a bidder displaces the rows of smaller margins; then the potential of the column
// falls by the least margin left in it, which keeps its rows content and makes it less of a bargain
// for the next. Every bid places mass, moves it to a row of larger margin, lowers a potential, or
// gives up: this cannot go on forever, and besides the number of bids is limited.
func (t *transport) bidding() {
	queue := make([]int32, 0, t.n)
	for i := range t.n {
		if i := int32(t.n - 1 - i); t.supply[i] > 0 {
			queue = append(queue, i)
		}
	}
	for limit := bidsPerRow * t.n; len(queue) > 0; {
		i := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for again := true; again && t.supply[i] > 0 && t.stats.Bids < limit; {
			queue, again = t.bid(i, queue)
		}
	}
}

// bid lets row i bid for its cheapest column, queues the rows that it displaces, and tells whether
// it may bid again.
func (t *transport) bid(i int32, queue []int32) ([]int32, bool) {
	t.stats.Bids++
	first, second := t.best(i)
	t.second[i] = second.reduced
	if first.reduced == second.reduced && t.room[first.col] == 0 {
		first = t.tied(i, first)
	}
	j := first.col
	margin := second.reduced - first.reduced
	for t.room[j] == 0 && t.supply[i] > 0 {
		e := t.weakest(j, i, margin)
		if e < 0 {
			break
		}
		row := t.flows.entries[e].row
		if t.supply[row] == 0 {
			queue = append(queue, row)
		}
		t.displace(e, j, t.supply[i])
		t.push(i, j, first.cost)
	}
	t.push(i, j, first.cost)
	return queue, t.room[j] > 0 || t.lower(j) || t.supply[i] == 0 || margin != 0
}

// tied returns a column with room, listed or in a row that was read whole, that is as cheap to row
// i as the one that best has just given, or that one.
func (t *transport) tied(i int32, best choice) choice {
	if t.whole {
		return t.tiedDense(i, best)
	}
	for _, c := range t.lists[i].items {
		if float64(c.key) > best.reduced {
			break
		}
		if t.room[c.col] > 0 && c.cost-t.v[c.col] == best.reduced {
			return choice{best.reduced, c.cost, c.col}
		}
	}
	return best
}

// weakest returns the entry of column j, not of row i, whose margin is least, if that is below
// limit; otherwise −1.
func (t *transport) weakest(j, i int32, limit float64) int32 {
	for {
		at, least := int32(-1), limit
		for e := t.flows.head[j]; e >= 0; e = t.flows.entries[e].next {
			f := &t.flows.entries[e]
			if m := t.margin(f, j); m < least && f.row != i {
				at, least = e, m
			}
		}
		if at < 0 {
			return -1
		}
		// The stored second best is a lower bound: see what it has become.
		row := t.flows.entries[at].row
		_, second := t.best(row)
		if second.reduced == t.second[row] {
			return at
		}
		t.second[row] = second.reduced
	}
}

// margin returns a lower bound of what row f.row loses if it leaves column j.
func (t *transport) margin(f *flow, j int32) float64 {
	return t.second[f.row] - (f.cost - t.v[j])
}

// displace takes up to most of entry e out of column j and gives it back to its row.
func (t *transport) displace(e, j int32, most int64) {
	f := &t.flows.entries[e]
	m := min(f.mass, most)
	t.supply[f.row] += m
	t.room[j] += m
	t.flows.take(j, e, m)
}

// lower lets the potential of the full column j fall by the least margin of its rows, and tells
// whether it fell.
func (t *transport) lower(j int32) bool {
	least := math.Inf(1)
	for e := t.flows.head[j]; e >= 0; e = t.flows.entries[e].next {
		least = min(least, t.margin(&t.flows.entries[e], j))
	}
	if least <= 0 || math.IsInf(least, 1) {
		return false
	}
	t.v[j] -= least
	return true
}
