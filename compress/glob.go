package compress

import (
	"fmt"
	"regexp"
	"strings"
)

// compileGlob turns a pattern with * and ? into an expression for whole names.
// Unlike in file names, * also matches slashes: node names are full of them.
func compileGlob(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, fmt.Errorf("an exclude pattern is empty")
	}
	q := regexp.QuoteMeta(pattern)
	q = strings.ReplaceAll(q, `\*`, `.*`)
	q = strings.ReplaceAll(q, `\?`, `.`)
	return regexp.Compile(`^(?s:` + q + `)$`)
}
