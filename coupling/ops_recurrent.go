package coupling

import "fmt"

// recurrentAxes: RNN, GRU and LSTM with 1, 3 and 4 gates. The hidden units h are a space that the
// recurrent weights read again (h'); every direction D has units of its own. Steps t come one after
// the other.
func recurrentAxes(c *call) (string, error) {
	gates := map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[c.node.GetOpType()]
	c.sizes = sizeMap{}
	if n := c.attrInt("hidden_size", 0); n > 0 && n <= maxSize {
		c.sizes["h"] = int(n)
	}
	c.sizeRefs = map[string][]string{"hidden_size": {"h"}}
	c.indexed = append(c.indexed, [2]string{"D", "h"})
	data, state, seq := "[t] n i", "D n h", "[t] D n h"
	if c.attrInt("layout", 0) != 0 {
		data, state, seq = "n [t] i", "n D h", "n [t] D h"
	}
	expr := fmt.Sprintf("%s, D (%d h) i, D (%d h) h', D (%d h), n, %s", data, gates, gates, 2*gates, state)
	out := fmt.Sprintf("%s, %s", seq, state)
	if gates == 4 { // the cell's state and the peepholes
		expr += fmt.Sprintf(", %s, D (3 h)", state)
		out += ", " + state
	}
	return expr + " -> " + out, nil
}
