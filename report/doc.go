// Package report presents results: as tables that a person reads, and as JSON that programs read.
// It computes nothing beyond shares and totals.
//
// The JSON names are an interface: they are documented in docs/json.md, carry their unit, and do not
// change. Shares are between 0 and 1, sizes are in bytes, times in the unit that the name ends
// with.
package report
