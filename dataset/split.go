package dataset

// Split divides a data set in two: every every-th sample, from the last of the first every on, is
// held out, the rest is for fitting. Both keep their order. With every < 2, or fewer samples than
// every, nothing is held out.
func (d *Data) Split(every int) (fit, held *Data) { return d.Fold(every-1, every) }

// Fold is Split with another sample of each every, the at-th, counted from 0: the held-out parts for
// all at are those of a cross-validation.
func (d *Data) Fold(at, every int) (fit, held *Data) {
	f, h := *d, *d
	f.order, h.order = nil, nil
	for i, s := range d.order {
		if every >= 2 && i%every == at {
			h.order = append(h.order, s)
		} else {
			f.order = append(f.order, s)
		}
	}
	return &f, &h
}

// Range returns the samples from the given one (included) to another (excluded), or to the last if
// there are fewer.
func (d *Data) Range(from, to int) *Data {
	c := *d
	c.order = d.order[min(from, len(d.order)):min(to, len(d.order))]
	return &c
}
