package coupling

// OpNames lists the operators that have a rule.
func OpNames() []string {
	var out []string
	for _, op := range table() {
		out = append(out, op.name)
	}
	return out
}
