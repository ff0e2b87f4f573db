package compress

import (
	"regexp"
	"strings"

	"github.com/monge-ml/monge/internal/pipeline"
)

// A glob is a pattern with * and ?, as an expression for whole names. Unlike in file names, * also
// matches slashes: node names are full of them.
type glob struct {
	*regexp.Regexp
	pattern string
}

func compileGlobs(patterns []string) (out []glob, err error) {
	for _, p := range patterns {
		if p == "" {
			return nil, pipeline.Mistakef("exclude: a pattern is empty")
		}
		q := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(p))
		re, err := regexp.Compile(`^(?s:` + q + `)$`)
		if err != nil {
			return nil, pipeline.Mistakef("exclude %q: %w", p, err)
		}
		out = append(out, glob{re, p})
	}
	return out, nil
}
