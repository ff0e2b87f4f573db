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

// compileGlobs makes globs of the patterns of an option.
func compileGlobs(option string, patterns []string) (out []glob, err error) {
	for _, p := range patterns {
		if p == "" {
			return nil, pipeline.Mistakef("%s: a pattern is empty", option)
		}
		q := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(p))
		re, err := regexp.Compile(`^(?s:` + q + `)$`)
		if err != nil {
			return nil, pipeline.Mistakef("%s %q: %w", option, p, err)
		}
		out = append(out, glob{re, p})
	}
	return out, nil
}
