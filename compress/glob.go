package compress

import (
	"regexp"
	"slices"
	"strings"

	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/onnxio/onnxpb"
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

// names reports whether a pattern names a node: its operator's type, itself or an output.
func (g glob) names(n *onnxpb.NodeProto) bool {
	return g.MatchString(n.GetOpType()) || g.MatchString(n.GetName()) || slices.ContainsFunc(n.GetOutput(), g.MatchString)
}
