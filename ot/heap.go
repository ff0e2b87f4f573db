package ot

// event is something a shortest path search comes to at a distance: a column (id ≥ 0), or the end
// of the candidates of row ^id.
type event struct {
	dist float64
	id   int32
}

// before orders events by distance, then columns before ends of lists, so that a search does not
// depend on how the heap is laid out.
func (e event) before(f event) bool {
	return e.dist < f.dist || e.dist == f.dist && uint32(e.id) < uint32(f.id)
}

// events is a binary heap, least event first.
type events []event

func (h *events) push(e event) {
	*h = append(*h, e)
	s := *h
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = e
}

func (h *events) pop() event {
	s := *h
	top := s[0]
	last := s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	n := len(s)
	if n == 0 {
		return top
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && s[child+1].before(s[child]) {
			child++
		}
		if !s[child].before(last) {
			break
		}
		s[i] = s[child]
		i = child
	}
	s[i] = last
	return top
}
