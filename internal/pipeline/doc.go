// Package pipeline carries out what compressing and fusing have in common: models and settings go
// in ([Start]); data that are split, tasks of outputs, and a result that is refitted and distilled
// ([Run.Finish]) come out.
package pipeline
