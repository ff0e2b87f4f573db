package onnxio

import "errors"

// A FileError is an error with the model file that it is about.
type FileError struct {
	Path string
	Err  error
}

func (e *FileError) Error() string { return e.Path + ": " + e.Err.Error() }

func (e *FileError) Unwrap() error { return e.Err }

// InFile names the model's file in an error, unless there is no file or the error names one
// already: the innermost knows best.
func (m *Model) InFile(err error) error {
	if err == nil || m.Path == "" || errors.As(err, new(*FileError)) {
		return err
	}
	return &FileError{m.Path, err}
}
