// Package memory says how much memory the process has used, and how much there is for it.
package memory
